/** What the running job says, to people and to machines; and how the jobs below say it. */
import type { CompactorEvents } from '../../compactor/compactor-options.ts'
import type { Clock } from '../../core/clock.ts'
import { type Position, positionText } from '../../core/position.ts'
import { formatInstant } from '../../formats/temporal.ts'
import type { BaseEvents } from '../../replicator/base-copy.ts'
import type { ReplicatorEvents } from '../../replicator/replicator.ts'

export type UpEvent =
  | { readonly event: 'starting'; readonly generation: number; readonly from: string }
  | {
      readonly event: 'base-progress'
      readonly rows: number
      readonly rawBytes: number
      readonly estimatedRows: number
    }
  | { readonly event: 'base-table'; readonly table: string; readonly rows: number; readonly bytes: number }
  | {
      readonly event: 'base-waiting'
      readonly pids: readonly number[]
      readonly prepared: readonly string[]
    }
  | { readonly event: 'base'; readonly closing: string; readonly rows: string; readonly bytes: string }
  | { readonly event: 'streaming'; readonly generation: number; readonly position: string }
  | {
      readonly event: 'durable'
      readonly to: string
      readonly transactions: number
      readonly changes: number
      readonly bytes: number
      readonly lastCommittedAt: string
      readonly lagMs: number
    }
  /** For the first time since the start: all that the source has is durable up to there, and nothing waits. */
  | { readonly event: 'caught-up'; readonly to: string }
  | { readonly event: 'gap'; readonly table: string; readonly from: string; readonly reason: string }
  /** Tables whose schema changed untold and could not be recorded: points behind this may lack them. Empty: mended. */
  | { readonly event: 'untold'; readonly tables: readonly string[] }
  /** What a start of `up` would refuse of the source as it is by now; null: nothing any more. */
  | {
      readonly event: 'source-fitness'
      readonly trouble: { readonly code: string; readonly message: string; readonly next: string } | null
    }
  /** A replica identity was given or taken back, or the table left the publication or came back: `now` says which. */
  | { readonly event: 'identity'; readonly table: string; readonly now: string }
  /** A whole reading of the schema replaced what the changes since the last one had made of it. */
  | { readonly event: 'schema-differs'; readonly statements: number }
  | { readonly event: 'gap-closed'; readonly id: string }
  /** A record in our topics that is not ours: passed over, and nothing of ours is missing. */
  | { readonly event: 'foreign'; readonly topic: string; readonly partition: number; readonly offset: string }
  /** One compactor among several: what is its own. */
  | { readonly event: 'sharing'; readonly leads: boolean; readonly lanes: readonly number[] }
  | { readonly event: 'generation'; readonly generation: number; readonly reason: string }
  | {
      readonly event: 'retry'
      readonly code: string
      readonly message: string
      /** What a person has to do, where it does not mend itself. */
      readonly next?: string
      /** The pause before the next try, where it is said before that. */
      readonly inMs?: number
    }
  /** The log lost what was not stored yet: it begins anew, and the source sends it again. */
  | { readonly event: 'log-anew'; readonly reason: string }
  /** A store holds up what counts as durable, and WAL waits on the source: for so long at the current rate, null without a limit. */
  | {
      readonly event: 'wal-budget'
      readonly bytes: number | null
      readonly seconds: number | null
      readonly lagBytes: number
    }
  /** A copy has everything up to this ledger entry: at the start, and after a failure. */
  | { readonly event: 'copy'; readonly place: string; readonly entry: string }
  /** A mirrored copy is behind and is tried again; the backup goes on. */
  | { readonly event: 'copy-failed'; readonly place: string; readonly code: string; readonly message: string }
  /** A store from before a promotion had entries of its own: they are set aside, and it is a copy from now on. */
  | {
      readonly event: 'orphans'
      readonly place: string
      readonly lineage: number
      readonly from: string
      readonly to: string
    }
  | {
      readonly event: 'anchor-failed'
      readonly place: string
      readonly code: string
      readonly message: string
    }
  /** Today's share of every store was looked at. */
  | {
      readonly event: 'damage'
      /** Known to be damaged still, and found right again. */
      readonly objects: number
      readonly repaired: number
    }
  | {
      readonly event: 'scrubbed'
      readonly part: number
      readonly parts: number
      readonly objects: number
      readonly mended: number
      readonly lost: number
      readonly left: number
      readonly away: readonly string[]
    }
  /** What crashes had left of uploads is taken away. */
  | { readonly event: 'swept'; readonly place: string; readonly files: number }
  | { readonly event: 'locks'; readonly place: string; readonly objects: number; readonly until: string }
  /** Scrubbing or locks: tried again within the hour; the backup goes on. */
  | { readonly event: 'upkeep-failed'; readonly code: string; readonly message: string }
  /** The signing key was rotated, and the new one is in use. */
  | { readonly event: 'signer'; readonly signer: string }
  | {
      readonly event: 'stopped' /** Everything received became durable; else the rest was dropped, was never acknowledged and comes again. */
      readonly drained: boolean
    }

export type Say = (event: UpEvent) => void
/** Named points of the write path, for crash tests. */
export type OnPoint = ((point: string) => void | Promise<void>) | undefined

export function orphansEvent(
  place: string,
  { lineage, from, to }: { readonly lineage: number; readonly from: bigint; readonly to: bigint },
): UpEvent {
  return { event: 'orphans', place, lineage, from: String(from), to: String(to) }
}

export function compactorEvents(say: Say, onPoint: OnPoint, clock: Clock): CompactorEvents {
  return {
    onDurable: (d: {
      to: Position
      transactions: number
      changes: number
      bytes: number
      firstCommittedAt: bigint
      lastCommittedAt: bigint
    }) =>
      say({
        event: 'durable',
        to: positionText(d.to),
        transactions: d.transactions,
        changes: d.changes,
        bytes: d.bytes,
        lastCommittedAt: formatInstant(d.lastCommittedAt),
        // Of the oldest commit in it: the one that waited longest.
        lagMs: Math.max(0, clock.now() - Number(d.firstCommittedAt / 1000n)),
      }),
    onCaughtUp: (to) => say({ event: 'caught-up', to: positionText(to) }),
    onRetry: (error) => say({ event: 'retry', ...error }),
    ...(onPoint === undefined ? {} : { onPoint }),
  }
}

export function replicatorEvents(say: Say): ReplicatorEvents {
  return {
    onGap: (gap) => {
      if (gap.scope.kind !== 'table') return
      say({
        event: 'gap',
        table: `${gap.scope.schema}.${gap.scope.name}`,
        from: positionText(gap.from),
        reason: gap.reason,
      })
    },
    onUntold: (tables) => say({ event: 'untold', tables }),
    onIdentity: (table, now) => say({ event: 'identity', table, now }),
  }
}

export function baseEvents(say: Say, onPoint: OnPoint): BaseEvents {
  return {
    onWaiting: (blockers) => say({ event: 'base-waiting', ...blockers }),
    onTable: (t) =>
      say({ event: 'base-table', table: `${t.schema}.${t.name}`, rows: t.rows, bytes: t.bytes }),
    onProgress: (p) => say({ event: 'base-progress', ...p }),
    onRefused: replicatorEvents(say).onGap,
    ...(onPoint === undefined ? {} : { onPoint }),
  }
}
