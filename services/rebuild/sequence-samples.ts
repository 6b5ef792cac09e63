/** Which values the sequences had at a point: samples stand in the indexes of cuts, and in entries of their own. */
import { compareLsn, type Lsn, parseLsn } from '../core/position.ts'
import type { SequenceSample } from '../core/transaction.ts'
import type { PagedEntry } from '../formats/checkpoint.ts'
import type { SegmentIndex } from '../formats/segment-index.ts'
import type { Repository } from '../repository/repository.ts'
import { isSegments } from '../repository/segment-log.ts'
import { readIndex, type ResolvedPoint } from './point.ts'

/** The first sample at or after the point, else the last one before it. A cut's sample lies at or before the cut's end. */
export async function sequenceSamples(
  repository: Repository,
  { generation, lsn }: ResolvedPoint,
): Promise<readonly SequenceSample[] | undefined> {
  const { segments } = generation
  let before: readonly SequenceSample[] | undefined
  for await (const entry of segments.entries((c) => compareLsn(c.end, lsn) >= 0)) {
    const sample = await sampleOf(repository, entry)
    if (sample !== undefined && compareLsn(sample.at, lsn) >= 0) return sample.samples
    before = sample?.samples ?? before
  }
  if (before !== undefined) return before
  for await (const entry of segments.backwards((c) => compareLsn(c.from, lsn) < 0)) {
    if (compareLsn(endOf(entry), lsn) >= 0) continue
    const sample = await sampleOf(repository, entry)
    if (sample !== undefined) return sample.samples
  }
  return undefined
}

async function sampleOf(repository: Repository, entry: PagedEntry): Promise<SegmentIndex['sequences']> {
  if (isSegments(entry)) return (await readIndex(repository, entry)).sequences
  const { body } = entry
  const stored = await repository.getSealed(body.object, {
    kind: 'sequences',
    generation: String(body.generation),
  })
  return { at: parseLsn(body.at), samples: JSON.parse(stored.toString('utf8')) as SequenceSample[] }
}

function endOf(entry: PagedEntry): Lsn {
  return parseLsn(isSegments(entry) ? entry.body.end : entry.body.at)
}
