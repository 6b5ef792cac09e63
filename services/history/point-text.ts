/** Points as people write them. The form with `@GENERATION` says which one is meant where two have the same number. */
import { TidemarkError } from '../core/errors.ts'
import { isPositionText, parsePosition, type Position } from '../core/position.ts'

/** `generation` where numbers of two meet: after a failover that lost transactions, or a source that was set back. */
export type Point =
  | { readonly kind: 'latest' }
  | { readonly kind: 'time'; readonly micros: bigint; readonly text: string }
  | { readonly kind: 'position'; readonly position: Position; readonly generation?: number | undefined }
  | {
      readonly kind: 'transaction'
      readonly transactionId: number
      readonly before: boolean
      readonly generation?: number | undefined
    }
  | { readonly kind: 'beforePosition'; readonly position: Position; readonly generation?: number | undefined }
  /** A name that was given by hand may end in `@1` itself: `name` is the whole text, `split` the other way to read it. */
  | {
      readonly kind: 'marker'
      readonly name: string
      readonly split?: { readonly name: string; readonly generation: number } | undefined
    }

/** @throws TidemarkError POINT_INVALID; a time without a zone is refused, never guessed */
export function parsePoint(text: string): Point {
  const trimmed = text.trim()
  if (trimmed === 'latest') return { kind: 'latest' }
  if (trimmed.startsWith('marker:')) return markerPoint(trimmed.slice(7))
  const before = trimmed.startsWith('before:')
  const rest = before ? trimmed.slice(7) : trimmed
  const [, unsplit = rest, generationText] = /^([^@]+)@(\d{1,9})$/.exec(rest) ?? []
  const generation = generationText === undefined ? undefined : Number(generationText)
  const transaction = /^xid:(\d{1,10})$/.exec(unsplit)
  if (transaction !== null)
    return { kind: 'transaction', transactionId: Number(transaction[1]), before, generation }
  const place = unsplit.startsWith('lsn:') ? unsplit.slice(4) : unsplit
  if (isPositionText(place))
    return { kind: before ? 'beforePosition' : 'position', position: parsePosition(place), generation }
  const time =
    /^(\d{4}-\d{2}-\d{2})[T ](\d{2}:\d{2}(?::\d{2}(?:\.\d{1,6})?)?)\s*(Z|[+-]\d{2}(?::?\d{2})?)?$/i.exec(
      trimmed,
    )
  if (time === null || before)
    throw new TidemarkError('POINT_INVALID', `not a point in time: "${trimmed.slice(0, 60)}"`)
  if (time[3] === undefined) {
    throw new TidemarkError('POINT_INVALID', `"${trimmed}" has no time zone: it could be any of 24 hours`, {
      next: `the same with a zone, e.g. ${time[1]}T${time[2]}Z for UTC`,
    })
  }
  const [clock = '', fraction = ''] = time[2]!.split('.')
  const seconds = Date.parse(
    `${time[1]}T${clock.length === 5 ? `${clock}:00` : clock}${time[3].replace(/^([+-]\d{2}):?(\d{2})?$/, (_, hours: string, minutes = '00') => `${hours}:${minutes}`).toUpperCase()}`,
  )
  // `Date.parse` takes the 31st of a shorter month for the first of the next.
  const day = Date.parse(`${time[1]}T00:00:00Z`)
  if (Number.isNaN(seconds) || !new Date(day).toISOString().startsWith(time[1]!))
    throw new TidemarkError('POINT_INVALID', `no such date or time: "${trimmed}"`)
  return {
    kind: 'time',
    micros: BigInt(seconds) * 1000n + BigInt(fraction.padEnd(6, '0') || '0'),
    text: trimmed,
  }
}

function markerPoint(text: string): Point {
  const [, name, generation] = /^(.+)@(\d{1,9})$/.exec(text) ?? []
  return name === undefined
    ? { kind: 'marker', name: text }
    : { kind: 'marker', name: text, split: { name, generation: Number(generation) } }
}
