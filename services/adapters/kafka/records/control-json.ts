/**
 * Control records as JSON, with LSNs as PostgreSQL writes them. A reading of a large schema has megabytes: above a limit
 * the text is compressed (`zstd:` and base64), so that its unit's record stays below what a broker takes. A kind that a reader
 * does not know stops it: passed over, what the record says would be missing in the backup without a word.
 */
import { zstdCompressSync, zstdDecompressSync } from 'node:zlib'
import { TidemarkError } from '../../../core/errors.ts'
import { parsePosition, type Position, positionText } from '../../../core/position.ts'
import type { ControlRecord } from '../../../core/transaction.ts'

const PLAIN_BYTES = 32 * 1024
/** Of one control record in its unit; the broker's default for a record is 1 MiB. */
const MOST_BYTES = 700 * 1024
const COMPRESSED = 'zstd:'
/**
 * Ahead of kinds that are younger than the first form. Readers from before they refused unknown kinds passed over these; this
 * text they cannot parse, so they stop.
 */
const YOUNGER = '2:'

const KINDS: Readonly<Record<ControlRecord['kind'], { readonly isYounger: boolean }>> = {
  sequences: { isYounger: false },
  schema: { isYounger: false },
  'schema-change': { isYounger: true },
  heartbeat: { isYounger: false },
  gap: { isYounger: false },
  marker: { isYounger: false },
}

/** @throws TidemarkError LOG_REFUSED where even the compressed text is too large */
export function controlJson(record: ControlRecord): string {
  const plain = JSON.stringify(record, (_, value: unknown) =>
    typeof value === 'bigint' ? { $lsn: positionText(value as Position) } : value,
  )
  const form = KINDS[record.kind].isYounger ? YOUNGER : ''
  if (plain.length <= PLAIN_BYTES) return form + plain
  const text = form + COMPRESSED + zstdCompressSync(Buffer.from(plain)).toString('base64')
  if (text.length > MOST_BYTES)
    throw new TidemarkError(
      'LOG_REFUSED',
      `a ${record.kind} record of ${plain.length} bytes is too large for the change log`,
      { next: 'log: direct' },
    )
  return text
}

/** @throws TidemarkError LOG_UNKNOWN for what a newer version wrote */
export function parseControl(text: string): ControlRecord {
  const body = text.startsWith(YOUNGER) ? text.slice(YOUNGER.length) : text
  let record: unknown
  try {
    const plain = body.startsWith(COMPRESSED)
      ? zstdDecompressSync(Buffer.from(body.slice(COMPRESSED.length), 'base64')).toString('utf8')
      : body
    record = JSON.parse(plain, (_, value: unknown) =>
      typeof value === 'object' && value !== null && '$lsn' in value && typeof value.$lsn === 'string'
        ? parsePosition(value.$lsn)
        : value,
    )
  } catch (error) {
    throw new TidemarkError('LOG_UNKNOWN', 'a control record in a form that this version does not know', {
      cause: error,
    })
  }
  if (!isKnown(record)) {
    const kind = (record as { kind?: unknown } | null)?.kind
    const name = typeof kind === 'string' ? `of the kind "${kind.slice(0, 40)}"` : 'without a kind'
    throw new TidemarkError('LOG_UNKNOWN', `a control record ${name}`)
  }
  return record
}

function isKnown(record: unknown): record is ControlRecord {
  const kind = (record as { kind?: unknown } | null)?.kind
  return typeof kind === 'string' && Object.hasOwn(KINDS, kind)
}
