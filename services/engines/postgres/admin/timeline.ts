/** Timelines: which one a position lies on, and whether the source forked away from what is durable (hazard 15). */
import type pg from 'pg'
import { TidemarkError } from '../../../core/errors.ts'
import { comparePositions, parsePosition, type Position, positionText } from '../../../core/position.ts'

export interface Timelines {
  readonly current: number
  /** Each older timeline with the position at which the next one began, oldest first. */
  readonly switches: readonly { readonly timeline: number; readonly at: Position }[]
}

/** @param client a replication connection */
export async function readTimelines(client: pg.Client): Promise<Timelines & { readonly systemId: string }> {
  const system = (await client.query<{ systemid: string; timeline: number }>('IDENTIFY_SYSTEM')).rows[0]
  const current = Number(system?.timeline ?? 1)
  const switches: { timeline: number; at: Position }[] = []
  if (current > 1) {
    const history =
      (await client.query<{ content: string | Buffer }>(`TIMELINE_HISTORY ${current}`)).rows[0]?.content ?? ''
    const text =
      typeof history === 'string' && history.startsWith('\\x')
        ? Buffer.from(history.slice(2), 'hex').toString('utf8')
        : history.toString()
    for (const line of text.split('\n')) {
      const match = /^(\d+)\s+([0-9A-F]+\/[0-9A-F]+)/.exec(line.trim())
      if (match !== null) switches.push({ timeline: Number(match[1]), at: parsePosition(match[2]!) })
    }
  }
  return { current, switches, systemId: system?.systemid ?? '' }
}

export function timelineOf(timelines: Timelines, lsn: Position): number {
  for (const { timeline, at } of timelines.switches) if (comparePositions(lsn, at) < 0) return timeline
  return timelines.current
}

/** @throws TidemarkError SLOT_LOST where a newer timeline left the durable history before its end, SOURCE_DIVERGED on an older one */
export function checkFork(
  timelines: Timelines,
  durable: { readonly timeline: number; readonly end: Position },
): void {
  if (durable.timeline > timelines.current)
    throw new TidemarkError(
      'SOURCE_DIVERGED',
      `the source is on timeline ${timelines.current}, the backup on ${durable.timeline}: an old primary came back`,
    )
  const left = timelines.switches.find((s) => s.timeline === durable.timeline)
  if (left === undefined && durable.timeline !== timelines.current)
    throw new TidemarkError(
      'SLOT_LOST',
      `the source is on timeline ${timelines.current}, which does not descend from ${durable.timeline}, which is stored: a failover lost transactions`,
    )
  if (left !== undefined && comparePositions(durable.end, left.at) > 0) {
    throw new TidemarkError(
      'SLOT_LOST',
      `the source forked at ${positionText(left.at)}, before ${positionText(durable.end)}, which is stored: a failover lost transactions`,
    )
  }
}
