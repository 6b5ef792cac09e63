/**
 * Points: when to restore to. A point resolves to one position: everything up to and with the transaction that commits
 * there. Commit times are not monotonic (hazard 112), so a time resolves by the databases' own rule: in commit order, stop
 * before the first transaction whose commit time is later.
 */
import { TidemarkError } from '../core/errors.ts'
import {
  comparePositions,
  endOfRecords,
  laterPosition,
  parsePosition,
  type Position,
  positionBefore,
  positionText,
} from '../core/position.ts'
import type { PagedEntry } from '../formats/checkpoint.ts'
import type { IndexedTransaction } from '../formats/segment-index.ts'
import { formatInstant, parseInstant } from '../formats/temporal.ts'
import type { NumberedEntry } from '../formats/ledger-entry.ts'
import type { Base, Generation } from '../repository/generation.ts'
import type { Catalog } from '../repository/catalog.ts'
import { closes, inGeneration, pointText, stateBefore } from '../repository/restorable.ts'
import { isSegments } from '../repository/segment-log.ts'
import { closedAt, knownUntil, reachedAt } from '../repository/source-time.ts'
import type { Repository } from '../repository/repository.ts'
import { unlessSealedForOthers } from './sealed-for-others.ts'
import { behindBreak, mayBeBehind } from './behind-break.ts'
import { containing, markerOf, type Meant, numbered, refuseSeveral } from './pick-generation.ts'
import { readTransactions } from './read-index.ts'
import type { Point } from './point-text.ts'

export interface ResolvedPoint {
  readonly generation: Generation
  readonly base: Base
  readonly position: Position
  /** The last position that a time may mean: before the next transaction, any place may be the one. `position` for every other point. */
  readonly until: Position
  /** The transaction at the point and the one after it; either may be unknown at the ends of the window. */
  readonly at: IndexedTransaction | undefined
  readonly next: IndexedTransaction | undefined
}

/** @throws TidemarkError POINT_BEFORE_WINDOW, POINT_AFTER_HEAD, POINT_UNKNOWN, NO_BASE; LEDGER_BROKEN where the point may lie behind a break */
export async function resolvePoint(repository: Repository, point: Point): Promise<ResolvedPoint> {
  const { broken } = repository.ledger
  if (broken === undefined) return resolve(repository, point)
  // The newest that is proven is not the newest that there was: whoever wants it has to say it.
  if (point.kind === 'latest') throw behindBreak(repository, broken)
  try {
    return await resolve(repository, point)
  } catch (error) {
    throw mayBeBehind(error) ? behindBreak(repository, broken) : error
  }
}

async function resolve(repository: Repository, point: Point): Promise<ResolvedPoint> {
  const { catalog } = repository
  const generations = catalog.generations.filter((generation) => generation.bases.length > 0)
  const newest = generations.at(-1)
  if (newest === undefined) throw new TidemarkError('NO_BASE', 'the backup has no finished base')
  switch (point.kind) {
    case 'latest':
      if (catalog.generation !== newest) {
        throw new TidemarkError(
          'NO_BASE',
          `generation ${catalog.generation?.facts.generation ?? 0} has no finished base yet; the generation before it ends at ${positionText(newest.to)}`,
          {
            next: `tidemark up  (finishes the base), or restore the older state: --at ${pointText(catalog, newest, newest.to)}`,
          },
        )
      }
      // Everything that commits below `end` is in it, whether or not anything did.
      return finish(
        repository,
        newest,
        comparePositions(newest.end, newest.to) > 0 ? positionBefore(newest.end) : newest.to,
        undefined,
      )
    case 'position':
      return finish(repository, containing(generations, point), point.position, undefined)
    case 'marker': {
      const { generation, position } = markerOf(generations, point)
      return finish(repository, generation, position, undefined)
    }
    case 'transaction':
    case 'beforePosition':
      return byTransaction(repository, generations, point)
    case 'time':
      return byTime(repository, generations, point)
  }
}

interface FoundPoint {
  readonly generation: Generation
  readonly entry: NumberedEntry<'segments'>
  readonly transactions: readonly IndexedTransaction[]
  /** Index into `transactions`. */
  readonly at: number
}

type TransactionPoint = Point & { kind: 'transaction' | 'beforePosition' }

async function byTransaction(
  repository: Repository,
  generations: readonly Generation[],
  point: TransactionPoint,
): Promise<ResolvedPoint> {
  // One whose base is not finished counts too: what is meant may be its transaction.
  const searched =
    point.generation === undefined
      ? repository.catalog.generations
      : [numbered(generations, point.generation)]
  const all: FoundPoint[] = []
  for (const generation of searched) {
    const found = await findIn(repository, generation, point)
    if (found !== undefined) all.push(found)
  }
  const text =
    point.kind === 'transaction'
      ? `${point.before ? 'before:' : ''}xid:${point.transactionId}`
      : `before:${positionText(point.position)}`
  refuseSeveral(
    text,
    all.map(({ generation, transactions, at }) => ({
      generation,
      text,
      what: `committed ${formatInstant(transactions[at]!.committedAt)}`,
    })),
  )
  const [only] = all
  if (only === undefined)
    throw new TidemarkError(
      'POINT_UNKNOWN',
      point.kind === 'transaction'
        ? `transaction ${point.transactionId} is not in ${point.generation === undefined ? 'the backup' : `generation ${point.generation}`}`
        : `no transaction in the backup commits at ${positionText(point.position)}`,
    )
  const { entry, transactions, at } = only
  const generation = numbered(generations, only.generation.facts.generation)
  const found = transactions[at]!
  if (point.kind === 'transaction' && !point.before)
    return finish(repository, generation, found.position, transactions[at + 1])
  // Just before it: the transaction ahead of it in commit order, or the end of the entry before.
  const previous = transactions[at - 1]?.position ?? parsePosition(entry.body.from)
  return finish(repository, generation, stateBefore(generation, previous, found.position), found)
}

/** The newest one: a server counts its transactions anew behind four thousand million. */
async function findIn(
  repository: Repository,
  generation: Generation,
  point: TransactionPoint,
): Promise<FoundPoint | undefined> {
  for await (const entry of generation.segments.backwards(
    (c) =>
      point.kind === 'transaction' ||
      (comparePositions(point.position, c.from) > 0 && comparePositions(point.position, c.to) <= 0),
  )) {
    if (!isSegments(entry)) continue
    const transactions = await readTransactions(repository, entry)
    const at = transactions.findLastIndex((t) =>
      point.kind === 'transaction'
        ? t.transactionId === point.transactionId
        : comparePositions(t.position, point.position) === 0,
    )
    if (at >= 0) return { generation, entry, transactions, at }
  }
  return undefined
}

async function byTime(
  repository: Repository,
  generations: readonly Generation[],
  point: Point & { kind: 'time' },
): Promise<ResolvedPoint> {
  const newest = generations.at(-1)!
  const reached = parseInstant(reachedAt(newest))
  if (point.micros > reached) {
    throw new TidemarkError(
      'POINT_AFTER_HEAD',
      `${inUtc(point)}: what the source committed is known until ${formatInstant(reached)}, by its own clock: something may have been committed since that the backup does not have yet`,
      {
        next: `the same about a minute after that time has come, while tidemark up runs; or --at latest  (all that the backup has)`,
      },
    )
  }
  // Clocks of two servers differ: what one stamped last may lie behind what the other stamped first.
  const holding = generations.filter(
    (g) => parseInstant(closedAt(g.bases[0]!)) <= point.micros && point.micros <= parseInstant(knownUntil(g)),
  )
  if (holding.length > 1) {
    const meant: Meant[] = []
    for (const generation of holding) {
      const { position } = await timeIn(repository, generation, point)
      meant.push({
        generation,
        text: positionText(position),
        what: `which has that time from its own server`,
      })
    }
    refuseSeveral(point.text, meant)
  }
  const generation = generations.findLast((g) => parseInstant(openedAt(g)) <= point.micros) ?? generations[0]!
  return timeIn(repository, generation, point)
}

async function timeIn(
  repository: Repository,
  generation: Generation,
  point: Point & { kind: 'time' },
): Promise<ResolvedPoint> {
  const first = generation.bases[0]!
  for await (const entry of generation.segments.segments(
    (c) => c.latestCommittedAt !== undefined && parseInstant(c.latestCommittedAt) > point.micros,
  )) {
    const transactions = await readTransactions(repository, entry)
    const after = transactions.findIndex((t) => t.committedAt > point.micros)
    if (after < 0) continue
    const at = after === 0 ? parsePosition(entry.body.from) : transactions[after - 1]!.position
    return finishTime(repository, generation, at, transactions[after], point, first)
  }
  refuseBetween(repository, generation, point)
  return finishTime(repository, generation, generation.to, undefined, point, first)
}

/**
 * Behind the last commit of a generation that another one follows, nobody knows what happened: the time lies in the gap.
 *
 * @throws TidemarkError GAP
 */
function refuseBetween(
  { catalog }: Repository,
  generation: Generation,
  point: Point & { kind: 'time' },
): void {
  const newer = catalog.generations.find((g) => g.number > generation.number)
  if (newer === undefined) return
  const known = knownUntil(generation)
  if (point.micros <= parseInstant(known)) return
  throw betweenGenerations(catalog, generation, newer, point, known)
}

/** @param known the newest commit time that the older one holds */
function betweenGenerations(
  catalog: Catalog,
  older: Generation,
  newer: Generation,
  point: Point & { kind: 'time' },
  known: string,
): TidemarkError {
  const { generation } = older.facts
  const opens = newer.bases[0]
  const behind =
    opens === undefined
      ? 'whose base is not finished yet'
      : `whose window opens at ${positionText(opens.closing)}, closed at ${closedAt(opens)}`
  const last = `--at ${inGeneration(positionText(older.end), older)}  (the last state before the gap)`
  return new TidemarkError(
    'GAP',
    `${inUtc(point)}: it lies in the gap between generation ${generation}, which holds what committed until ${known}, and generation ${newer.facts.generation}, ${behind}: ${newer.facts.reason}`,
    {
      next:
        opens === undefined
          ? `${last}; or tidemark up, which finishes the base`
          : `${last}, or --at ${pointText(catalog, newer, opens.closing)}  (the first one behind it)`,
    },
  )
}

function openedAt(generation: Generation): string {
  const closed = closedAt(generation.bases[0]!)
  const first = generation.segments.firstCommittedAt
  // The base is there from its closing on, however late the first commit behind it comes.
  return first === undefined || parseInstant(closed) < parseInstant(first) ? closed : first
}

/** Before the base closes there is nothing to restore; a quiet time right behind it is the base itself. */
async function finishTime(
  repository: Repository,
  generation: Generation,
  at: Position,
  next: IndexedTransaction | undefined,
  point: Point & { kind: 'time' },
  first: Base,
): Promise<ResolvedPoint> {
  if (closes(first.closing, at)) return openEnded(await finish(repository, generation, at, next))
  if (point.micros >= parseInstant(closedAt(first)))
    return openEnded(await finish(repository, generation, positionBefore(first.closing), next))
  const older = repository.catalog.generations.findLast(
    (g) => g.number < generation.number && g.bases.length > 0,
  )
  if (older !== undefined)
    throw betweenGenerations(repository.catalog, older, generation, point, knownUntil(older))
  throw new TidemarkError(
    'POINT_BEFORE_WINDOW',
    `${inUtc(point)}: the first window opens at ${positionText(first.closing)}, closed at ${closedAt(first)}`,
  )
}

function openEnded(point: ResolvedPoint): ResolvedPoint {
  const behind = point.next === undefined ? point.generation.end : positionBefore(point.next.position)
  return { ...point, until: laterPosition(behind, point.position) }
}

async function finish(
  repository: Repository,
  generation: Generation,
  asked: Position,
  next: IndexedTransaction | undefined,
): Promise<ResolvedPoint> {
  // The end itself, as a source gives it, means what was written below it; what may commit right there is
  // not known yet. The report says so: the position reached is the one below.
  const isEnd = asked === generation.end || endOfRecords(asked) === generation.end
  const position =
    isEnd && comparePositions(asked, generation.to) > 0 ? positionBefore(generation.end) : asked
  const base = generation.bases.findLast((b) => closes(b.closing, position))
  if (base === undefined) {
    const opens = generation.bases[0]!
    throw new TidemarkError(
      'POINT_BEFORE_WINDOW',
      `${positionText(position)} lies before the window, which opens at ${positionText(opens.closing)}`,
    )
  }
  if (comparePositions(position, generation.end) >= 0 && comparePositions(position, generation.to) > 0) {
    const newer = repository.catalog.generations.find((g) => g.number > generation.number)
    if (newer !== undefined) {
      throw new TidemarkError(
        'GAP',
        `${positionText(position)} lies in the gap between generation ${generation.facts.generation}, which ends at ${positionText(generation.end)}, and the next one: ${newer.facts.reason}`,
      )
    }
    const older = repository.catalog.generations.find(
      (g) =>
        g !== generation &&
        comparePositions(position, g.end) <= 0 &&
        g.bases.some((b) => closes(b.closing, position)),
    )
    throw new TidemarkError(
      'POINT_AFTER_HEAD',
      `${positionText(position)} lies after the end of the backup at ${positionText(generation.end)}`,
      older === undefined
        ? {
            next: 'the same a minute later, while tidemark up runs: the end of a source that writes nothing is taken once a minute, and its last place only once more is written; or --at latest  (all that the backup has)',
          }
        : {
            next: `tidemark windows; or --at ${positionText(position)}@${older.facts.generation} for the place of that name in generation ${older.facts.generation}, which ended with a failover`,
          },
    )
  }
  let at: IndexedTransaction | undefined
  let following = next
  const entry = await firstSegments(
    generation.segments.backwards((c) => comparePositions(c.from, position) < 0),
  )
  if (entry !== undefined) {
    const transactions = await readTransactions(repository, entry)
    at =
      transactions.findLast((t) => comparePositions(t.position, position) <= 0) ??
      (await lastBefore(repository, generation, parsePosition(entry.body.from)))
    following ??= transactions.find((t) => comparePositions(t.position, position) > 0)
    if (following === undefined) {
      const end = parsePosition(entry.body.to)
      const later = await firstSegments(generation.segments.entries((c) => comparePositions(c.to, end) > 0))
      if (later !== undefined)
        following = (await unlessSealedForOthers(readTransactions(repository, later)))?.[0]
    }
  }
  return { generation, base, position, until: position, at, next: following }
}

/** The last transaction of the cut that ends where another one begins. */
async function lastBefore(
  repository: Repository,
  generation: Generation,
  from: Position,
): Promise<IndexedTransaction | undefined> {
  const before = await firstSegments(generation.segments.backwards((c) => comparePositions(c.from, from) < 0))
  return before === undefined ? undefined : (await readTransactions(repository, before)).at(-1)
}

async function firstSegments(
  entries: AsyncIterable<PagedEntry>,
): Promise<NumberedEntry<'segments'> | undefined> {
  for await (const entry of entries) if (isSegments(entry)) return entry
  return undefined
}

/** What another zone or a shorter form means; a time that says it itself is said once. */
function inUtc({ text, micros }: Extract<Point, { kind: 'time' }>): string {
  return /z$/i.test(text) ? text : `${text} is ${formatInstant(micros)} in UTC`
}
