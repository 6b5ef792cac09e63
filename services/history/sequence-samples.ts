/** Which values the sequences had at a point: samples stand in the indexes of cuts, and in entries of their own. */
import { LIMITS } from '../core/limits.ts'
import { comparePositions, parsePosition, type Position } from '../core/position.ts'
import {
  mergeSamples,
  type SampledSequences,
  sequenceIdentity,
  sequenceKey,
  type SequenceSample,
} from '../core/transaction.ts'
import type { PlacedRecord, RecordWords, SequenceAt, SequencesAt } from '../core/ports/dialect.ts'
import type { PagedEntry } from '../formats/checkpoint.ts'
import { parseSampled } from '../formats/sampled-sequences.ts'
import type { Repository } from '../repository/repository.ts'
import { isSegments } from '../repository/segment-log.ts'
import { SequenceNames } from './sequence-names.ts'
import { closes } from '../repository/restorable.ts'
import type { ResolvedPoint } from './point.ts'
import { readIndex } from './read-index.ts'
import { unlessSealedForOthers } from './sealed-for-others.ts'

/** The first sample that was taken after everything up to the point had been received, else the last one before it. */
export async function sequencesAt(
  repository: Repository,
  words: RecordWords,
  point: ResolvedPoint,
  records: readonly PlacedRecord[],
): Promise<SequencesAt> {
  const last = await lastCommit(repository, point)
  const isBehind = (at: Position): boolean => last !== undefined && comparePositions(at, last) <= 0
  const history: SampledSequences[] = []
  let exact: SampledSequences | undefined
  let beyond: Position | undefined
  /** Whether something was committed between the point and the sample behind it. */
  let isMoved = false
  for await (const entry of point.generation.segments.entries((c) => !isBehind(c.end))) {
    if (exact === undefined && isSegments(entry))
      isMoved ||= comparePositions(parsePosition(entry.body.to), point.position) > 0
    const read = await unlessSealedForOthers(sampleOf(repository, entry).then((sample) => ({ sample })))
    // To whoever restores, the backup ends here.
    if (read === undefined) break
    const { sample } = read
    if (sample === undefined) continue
    if (exact !== undefined) {
      beyond = sample.at
      break
    }
    if (isBehind(sample.at)) history.push(sample)
    else exact = sample
  }
  const names = new SequenceNames(words, records, point.position, beyond)
  // It may have been set back behind the point: then the sample before it is nearer to what it gave.
  const isSetBack = isMoved && exact?.samples.some((sample) => sample.setBack) === true
  // A process compares with its own samples alone: at its first one, which is a full one, nobody has.
  const isUncompared = isMoved && exact !== undefined && exact.extent !== 'changes'
  const needsEarlier = exact === undefined || names.isAnyAltered || isSetBack || isUncompared
  await addEarlier(repository, point, history, needsEarlier ? undefined : exact, isBehind)
  history.sort((a, b) => comparePositions(a.at, b.at))
  if (needsEarlier && history.length === 0) {
    const base = await baseSample(repository, point)
    if (base === undefined && exact === undefined) return { sequences: [], restUncalled: false }
    if (base !== undefined && (exact !== undefined || isBehind(base.at))) history.push(base)
    else exact ??= base
  }
  names.learn(history)
  const behind = exact === undefined ? undefined : names.then(exact)
  return atPoint(
    history.map((sample) => names.then(sample)),
    behind,
    new Set([
      ...names.altered,
      ...(isMoved && behind !== undefined ? setBackIn(behind, newestOf(history)) : []),
    ]),
  )
}

/** By identity. */
function newestOf(history: readonly SampledSequences[]): ReadonlyMap<string, SequenceSample> {
  return new Map(history.flatMap(({ samples }) => samples.map((one) => [sequenceIdentity(one), one])))
}

/** What a sample names as set back, or shows to be behind the one before it: one that goes down is taken for it, and only goes further. */
function setBackIn(sample: SampledSequences, before: ReadonlyMap<string, SequenceSample>): string[] {
  return sample.samples
    .filter((one) => {
      const earlier = before.get(sequenceIdentity(one))
      return (
        one.setBack === true || (earlier !== undefined && BigInt(one.lastValue) < BigInt(earlier.lastValue))
      )
    })
    .map(sequenceKey)
}

/** Position of the last transaction at or before the point that may have used a sequence; undefined where there is none. */
async function lastCommit(
  repository: Repository,
  { generation, position }: ResolvedPoint,
): Promise<Position | undefined> {
  for await (const entry of generation.segments.backwards((c) => comparePositions(c.from, position) < 0)) {
    if (!isSegments(entry)) continue
    const { tables, transactions } = await readIndex(repository, entry)
    // Our own deletes and updates behind a sample use none.
    const uses = transactions.findLast(
      (t) =>
        comparePositions(t.position, position) <= 0 &&
        t.counts.some(([table, inserts]) => tables[table]?.schema !== 'tidemark' || inserts > 0),
    )
    if (uses !== undefined) return uses.position
  }
  return undefined
}

/** Back to one that holds all, and so far that a restart of the process just before does not hide how fast they move. */
async function addEarlier(
  repository: Repository,
  { generation, position }: ResolvedPoint,
  history: SampledSequences[],
  exact: SampledSequences | undefined,
  isBehind: (at: Position) => boolean,
): Promise<void> {
  let hasFull = [...history, ...(exact === undefined ? [] : [exact])].some((s) => s.extent !== 'changes')
  for await (const entry of generation.segments.backwards((c) => comparePositions(c.from, position) < 0)) {
    if (hasFull && (exact !== undefined || history.length >= 2 * LIMITS.fullSampleEvery)) return
    if (!isBehind(endOf(entry))) continue
    const sample = await sampleOf(repository, entry)
    if (sample === undefined) continue
    history.push(sample)
    hasFull ||= sample.extent !== 'changes'
  }
}

/** The snapshot of the newest base that the point reaches: its reading of the schema has the sequences too. */
async function baseSample(
  repository: Repository,
  { generation, position }: ResolvedPoint,
): Promise<SampledSequences | undefined> {
  let left = LIMITS.fullSampleEvery
  for (const { body } of generation.schemas.toReversed()) {
    // The changes of a reading hold no sequences' values, and are sealed as another kind.
    if (body.kind !== 'schema') continue
    const at = parsePosition(body.at)
    if (comparePositions(at, position) > 0 && !closes(at, position)) continue
    if (left-- === 0) return undefined
    const stored = await repository.getSealed(body.object, {
      kind: 'schema',
      generation: String(generation.facts.generation),
    })
    const facts = JSON.parse(stored.toString('utf8')) as { sequences?: unknown; sampled?: unknown }
    if (facts.sampled !== undefined) return parseSampled(facts.sampled, at)
    if (facts.sequences !== undefined) return parseSampled(facts.sequences, at)
  }
  return undefined
}

function atPoint(
  history: readonly SampledSequences[],
  exact: SampledSequences | undefined,
  altered: ReadonlySet<string>,
): SequencesAt {
  const all = exact === undefined ? history : [...history, exact]
  const full = Math.max(
    0,
    all.findLastIndex((sample) => sample.extent !== 'changes'),
  )
  const state = all.slice(full).reduce((held, next) => mergeSamples(held, next))
  const known = new Map(state.samples.map((sample) => [sequenceKey(sample), sample]))
  for (const key of altered) known.delete(key)
  const restUncalled = exact !== undefined && state.extent === undefined && altered.size === 0
  const seen = new Map<string, SequenceSample>()
  const advances = new Map<string, bigint>()
  const before = history.flatMap(({ samples }) => samples)
  const behind = exact?.samples.filter((sample) => !altered.has(sequenceKey(sample))) ?? []
  for (const sample of [...before, ...behind]) {
    const key = sequenceKey(sample)
    seen.set(key, sample)
    const advance = BigInt(sample.advance ?? 0)
    if (advance > (advances.get(key) ?? 0n)) advances.set(key, advance)
  }
  // Which sequence it is, its OID says: it was altered behind the point. Where it was set back too, it is no further than before.
  const later = new Map(
    (exact?.samples ?? [])
      .filter((sample) => sample.oid !== undefined && altered.has(sequenceKey(sample)))
      .map((sample) => [sequenceKey(sample), sample]),
  )
  for (const [key, sample] of later) if (!seen.has(key)) seen.set(key, sample)
  const sequences: SequenceAt[] = []
  for (const [key, sample] of seen) {
    const held = known.get(key)
    // Renamed or dropped before the sample behind the point: an older one has it.
    if (held === undefined && restUncalled) continue
    const further = later.get(key)?.lastValue
    sequences.push({
      ...(held ?? sample),
      ...(held !== undefined || further === undefined ? {} : { later: further }),
      advance: String(advances.get(key) ?? 0n),
      isBehind: exact === undefined || held === undefined,
    })
  }
  return { sequences, restUncalled }
}

async function sampleOf(repository: Repository, entry: PagedEntry): Promise<SampledSequences | undefined> {
  if (isSegments(entry)) return (await readIndex(repository, entry)).sequences
  const { body } = entry
  const stored = await repository.getSealed(body.object, {
    kind: 'sequences',
    generation: String(body.generation),
  })
  return parseSampled(JSON.parse(stored.toString('utf8')), parsePosition(body.at))
}

function endOf(entry: PagedEntry): Position {
  return parsePosition(isSegments(entry) ? entry.body.end : entry.body.at)
}
