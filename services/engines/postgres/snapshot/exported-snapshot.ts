/**
 * An exported snapshot at an exact place in the stream: a temporary slot's. Transactions that commit below its
 * consistent point are in it, all others are not (tried: 40 snapshots over 3,648 concurrent transactions). It lives as
 * long as this connection does, and waits for every transaction that is open when it is asked for.
 */
import type pg from 'pg'
import type { Clock } from '../../../core/clock.ts'
import { TidemarkError } from '../../../core/errors.ts'
import type { SnapshotBlockers } from '../../../core/ports/source.ts'
import { parsePosition, type Position } from '../../../core/position.ts'
import { quoteLiteral, quoteName } from '../dialect/quote.ts'
import { APPLICATION_NAME } from '../session/names.ts'
import { cancelStatement } from '../session/cancel-statement.ts'
import { connect, connectionError } from '../session/session.ts'

export interface ExportedSnapshot {
  readonly name: string
  readonly consistentPoint: Position
  close(): Promise<void>
}

export async function exportSnapshot(options: {
  url: string
  slot: string
  clock: Clock
  signal: AbortSignal
  onWaiting?: (blockers: SnapshotBlockers) => void
}): Promise<ExportedSnapshot> {
  const client = await connect({
    url: options.url,
    applicationName: `${APPLICATION_NAME}_snapshot`,
    replication: true,
    role: 'source',
  })
  let isMade = false
  const onAbort = (): void => {
    // Left to itself it would wait for those transactions, with its slot, for as long as they are open.
    if (!isMade) cancelStatement(client)
    client.end().catch(() => undefined)
  }
  options.signal.addEventListener('abort', onAbort, { once: true })
  const watch =
    options.onWaiting === undefined
      ? undefined
      : watchBlockers(options.url, options.clock, options.onWaiting, options.signal)
  try {
    const created = await client.query<{ consistent_point: string; snapshot_name: string }>(
      `CREATE_REPLICATION_SLOT ${quoteName(options.slot)} TEMPORARY LOGICAL pgoutput EXPORT_SNAPSHOT`,
    )
    isMade = true
    const row = created.rows[0]
    if (row === undefined) throw new TidemarkError('PROTOCOL', 'the server made a slot and did not say where')
    return {
      name: row.snapshot_name,
      consistentPoint: parsePosition(row.consistent_point),
      close: () => {
        options.signal.removeEventListener('abort', onAbort)
        return client.end()
      },
    }
  } catch (error) {
    options.signal.removeEventListener('abort', onAbort)
    await client.end().catch(() => undefined)
    options.signal.throwIfAborted()
    throw connectionError(error, 'source')
  } finally {
    watch?.abort()
  }
}

/** While the slot waits: names the transactions it waits for, every few seconds (hazard 19). */
function watchBlockers(
  url: string,
  clock: Clock,
  onWaiting: (blockers: SnapshotBlockers) => void,
  outer: AbortSignal,
): AbortController {
  const stop = new AbortController()
  const signal = AbortSignal.any([outer, stop.signal])
  const run = async (): Promise<void> => {
    await clock.sleep(2_000, signal)
    const client = await connect({ url, applicationName: APPLICATION_NAME, role: 'source' })
    try {
      for (;;) {
        const found = await client.query<{ pid: number }>(
          'SELECT pid FROM pg_stat_activity WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid() ORDER BY xact_start LIMIT 20',
        )
        const prepared = await client.query<{ gid: string }>(
          'SELECT gid FROM pg_prepared_xacts ORDER BY prepared LIMIT 20',
        )
        const blockers = {
          pids: found.rows.map((row) => row.pid),
          prepared: prepared.rows.map((row) => row.gid),
        }
        if (blockers.pids.length + blockers.prepared.length > 0) onWaiting(blockers)
        await clock.sleep(5_000, signal)
      }
    } finally {
      await client.end()
    }
  }
  // A watcher only informs: its own failure must not end the wait.
  run().catch(() => undefined)
  return stop
}

/** Begins a read-only transaction under an exported snapshot. */
export async function beginUnder(client: pg.Client, snapshot: string): Promise<void> {
  await client.query('BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY')
  await client.query(`SET TRANSACTION SNAPSHOT ${quoteLiteral(snapshot)}`)
}
