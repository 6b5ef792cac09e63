/**
 * Times by the clock of the source, which stamps commits: ours may go otherwise, and what was committed before an entry was
 * written may still be on its way.
 */
import { parseInstant } from '../formats/temporal.ts'
import type { Base, Generation } from './generation.ts'

/** By the source's clock; by ours where an older version wrote the base. */
export function closedAt({ entry, writtenAt }: Base): string {
  return entry.closedAt ?? writtenAt
}

/** Instant up to which every commit is known, by the source's clock. */
export function knownUntil(generation: Generation): string {
  return [generation.segments.last?.body.latestCommittedAt, generation.asOf]
    .filter((time) => time !== undefined)
    .reduce((a, b) => (parseInstant(a) > parseInstant(b) ? a : b), closedAt(generation.bases[0]!))
}

/** The newest time that `generation` can be restored to. Where only older versions wrote, our clock has to serve. */
export function reachedAt(generation: Generation): string {
  const known = knownUntil(generation)
  const isOld = generation.asOf === undefined && generation.bases[0]!.entry.closedAt === undefined
  return isOld && parseInstant(generation.lastWrittenAt) > parseInstant(known)
    ? generation.lastWrittenAt
    : known
}
