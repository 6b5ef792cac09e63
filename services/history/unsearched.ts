/**
 * What of a time nobody watched: before the backup begins, between two generations, behind what the source is known to have
 * committed, and in recorded gaps. Times are the source's, which stamped the commits; where a gap lies between two, it may be anywhere
 * from the one to the other.
 */
import { comparePositions, parsePosition, type Position, positionText } from '../core/position.ts'
import { formatInstant, parseInstant } from '../formats/temporal.ts'
import type { Catalog } from '../repository/catalog.ts'
import type { Gap, Generation } from '../repository/generation.ts'
import type { Repository } from '../repository/repository.ts'
import { isSegments } from '../repository/segment-log.ts'
import { closedAt } from '../repository/source-time.ts'
import { readTransactions } from './read-index.ts'
import { unlessSealedForOthers } from './sealed-for-others.ts'

export interface Unsearched {
  readonly from: string
  readonly to: string
  /** Null: whatever happened. Else changes of this table may be missing. */
  readonly table: string | null
  /** Of a gap inside of a generation, as `windows` has it; `to` is null while it is open. */
  readonly positions: { readonly from: string; readonly to: string | null } | null
  /** For people. */
  readonly why: string
}

/** Microseconds since 1970, both of them included. */
interface Span {
  readonly from: bigint
  readonly to: bigint
}

/** Commit times need not be in the order of the commits. */
export const SKEW = 60_000_000n

interface Watched extends Span {
  readonly generation: Generation
}

/** @param isWanted of a table's gap */
export async function unsearched(
  repository: Repository,
  asked: Span,
  isWanted: (scope: Gap['scope'] & { kind: 'table' }) => boolean,
): Promise<Unsearched[]> {
  const { catalog } = repository
  const watched: Watched[] = []
  for (const generation of catalog.generations) {
    const span = await watchedBy(generation)
    if (span !== undefined) watched.push({ ...span, generation })
  }
  const found = holes(catalog, watched, asked)
  for (const span of watched)
    for (const gap of await gapsNear(repository, span.generation, asked)) {
      if (gap.scope.kind === 'table' ? !isWanted(gap.scope) : gap.to === undefined) continue
      const times = await timesOf(repository, gap, span)
      if (times.from <= asked.to && asked.from <= times.to) found.push(ofGap(gap, clipped(times, asked)))
    }
  return found
}

/** What can be searched of the asked time. */
export function searchedOf(asked: Span, missing: readonly Unsearched[]): { from: string; to: string }[] {
  const parts: { from: string; to: string }[] = []
  let from = asked.from
  const whole = missing
    .filter(({ table }) => table === null)
    .map((hole) => ({ from: parseInstant(hole.from), to: parseInstant(hole.to) }))
    .sort((a, b) => (a.from < b.from ? -1 : 1))
  for (const hole of whole) {
    if (hole.from > from) parts.push({ from: formatInstant(from), to: formatInstant(hole.from) })
    if (hole.to > from) from = hole.to
  }
  // A moment is none of it, or all.
  if (from < asked.to || whole.length === 0)
    parts.push({ from: formatInstant(from), to: formatInstant(asked.to) })
  return parts
}

/** Between which times a generation has every commit. */
async function watchedBy(generation: Generation): Promise<Span | undefined> {
  const { segments, asOf, bases } = generation
  const times: (string | undefined)[] = [segments.last?.body.latestCommittedAt, asOf]
  const starts: string[] = []
  if (bases[0] !== undefined) {
    times.push(closedAt(bases[0]))
    starts.push(closedAt(bases[0]))
  }
  // Not the log's own first: what is retired has no say any more.
  for await (const { body } of segments.segments((c) => c.firstCommittedAt !== undefined)) {
    starts.push(body.firstCommittedAt)
    break
  }
  const ends = times.filter((time) => time !== undefined)
  if (starts.length === 0 || ends.length === 0) return undefined
  const all = (texts: readonly string[]): bigint[] => texts.map(parseInstant)
  return {
    from: all(starts).reduce((a, b) => (a < b ? a : b)),
    to: all(ends).reduce((a, b) => (a > b ? a : b)),
  }
}

/** Of the asked time, what no generation watched. */
function holes(catalog: Catalog, watched: readonly Watched[], asked: Span): Unsearched[] {
  const found: Unsearched[] = []
  const inOrder = [...watched].sort((a, b) => (a.from < b.from ? -1 : 1))
  let last: Watched | undefined
  for (const next of [...inOrder, undefined]) {
    // At their ends they watched.
    const from = last?.to ?? asked.from - 1n
    const to = next?.from ?? asked.to + 1n
    if (from < to && from < asked.to && asked.from < to)
      found.push({
        ...texts(clipped({ from, to }, asked)),
        table: null,
        positions: null,
        why: whyBetween(catalog, last, next),
      })
    if (next !== undefined && (last === undefined || next.to > last.to)) last = next
  }
  return found
}

function whyBetween({ generations }: Catalog, last?: Watched, next?: Watched): string {
  if (last === undefined)
    return next === undefined ? 'the backup has nothing yet' : 'what the backup still has begins behind it'
  const known = formatInstant(last.to)
  const newer = next?.generation ?? generations.find((g) => g.number > last.generation.number)
  return newer === undefined
    ? `behind the end of the backup: what the source committed is known until ${known}`
    : `in the gap between generation ${last.generation.facts.generation}, which holds what committed until ${known}, and generation ${newer.facts.generation}: ${newer.facts.reason}`
}

function clipped(span: Span, asked: Span): Span {
  return {
    from: span.from > asked.from ? span.from : asked.from,
    to: span.to < asked.to ? span.to : asked.to,
  }
}

/** Where a generation's changes of the asked time surely lie, without looking into any cut; undefined for its ends. */
export async function placesOf(
  { segments }: Generation,
  asked: Span,
): Promise<{ readonly low: Position | undefined; readonly high: Position | undefined }> {
  const [begin, end] = [asked.from - SKEW, asked.to + SKEW]
  const isEarlier = (time: string | undefined): boolean => time !== undefined && parseInstant(time) < begin
  const isLater = (time: string | undefined): boolean => time !== undefined && parseInstant(time) > end
  let low: Position | undefined
  for await (const entry of segments.backwards((c) =>
    isEarlier(c.isPage ? c.firstCommittedAt : c.latestCommittedAt),
  )) {
    low = isSegments(entry) ? parsePosition(entry.body.from) : undefined
    break
  }
  let high: Position | undefined
  for await (const { body } of segments.segments((c) =>
    isLater(c.isPage ? c.latestCommittedAt : c.firstCommittedAt),
  )) {
    high = parsePosition(body.to)
    break
  }
  return { low, high }
}

/** Gaps that may lie in the asked time: a long backup has many. */
async function gapsNear(
  { catalog }: Repository,
  generation: Generation,
  asked: Span,
): Promise<readonly Gap[]> {
  const { facts } = generation
  const { low, high } = await placesOf(generation, asked)
  return catalog.gaps.filter((gap) => {
    const to = endOf(gap)
    return (
      gap.generation === facts.generation &&
      (high === undefined || comparePositions(gap.from, high) <= 0) &&
      (low === undefined || to === undefined || comparePositions(to, low) > 0)
    )
  })
}

/** A stream's gap without an end goes on to the next generation. */
function endOf(gap: Gap): Position | undefined {
  return gap.scope.kind === 'table' ? gap.closedAt : gap.to
}

/** From the last commit that is not behind its beginning to the first one that is behind it. */
async function timesOf(repository: Repository, gap: Gap, { generation, ...watched }: Watched): Promise<Span> {
  const end = endOf(gap)
  return {
    from: (await lastUpTo(repository, generation, gap.from)) ?? watched.from,
    to: end === undefined ? watched.to : ((await firstFrom(repository, generation, end)) ?? watched.to),
  }
}

async function lastUpTo(
  repository: Repository,
  generation: Generation,
  position: Position,
): Promise<bigint | undefined> {
  for await (const entry of generation.segments.backwards(
    (c) => comparePositions(c.from, position) < 0 && c.latestCommittedAt !== undefined,
  )) {
    if (!isSegments(entry)) continue
    const transactions = await unlessSealedForOthers(readTransactions(repository, entry))
    if (transactions === undefined) return parseInstant(entry.body.firstCommittedAt)
    const found = transactions.findLast((t) => comparePositions(t.position, position) <= 0)
    if (found !== undefined) return found.committedAt
  }
  return undefined
}

async function firstFrom(
  repository: Repository,
  generation: Generation,
  position: Position,
): Promise<bigint | undefined> {
  for await (const entry of generation.segments.segments((c) => comparePositions(c.to, position) >= 0)) {
    const transactions = await unlessSealedForOthers(readTransactions(repository, entry))
    if (transactions === undefined) return parseInstant(entry.body.latestCommittedAt)
    const found = transactions.find((t) => comparePositions(t.position, position) >= 0)
    if (found !== undefined) return found.committedAt
  }
  return undefined
}

function ofGap(gap: Gap, span: Span): Unsearched {
  const isTable = gap.scope.kind === 'table'
  const to = endOf(gap)
  return {
    ...texts(span),
    table: gap.scope.kind === 'table' ? `${gap.scope.schema}.${gap.scope.name}` : null,
    positions: { from: positionText(gap.from), to: to === undefined ? null : positionText(to) },
    why: `${isTable ? 'in a gap of the table' : 'in a gap'}: ${gap.reason}`,
  }
}

function texts({ from, to }: Span): { from: string; to: string } {
  return { from: formatInstant(from), to: formatInstant(to) }
}
