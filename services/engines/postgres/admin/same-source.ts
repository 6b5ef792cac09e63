/** Whether the database behind a URL is the one that a backup belongs to, and can go on from where that ends (hazards 4, 14, 15). */
import { TidemarkError } from '../../../core/errors.ts'
import { comparePositions, parsePosition, type Position, positionText } from '../../../core/position.ts'
import type { SourceIdentity } from '../../../core/ports/source.ts'
import type { ExpectedSource } from '../../../core/ports/source-admin.ts'
import { type DatabaseId, databaseOf, POSTGRES } from '../session/origin.ts'
import { APPLICATION_NAME } from '../session/names.ts'
import { connect, connectionError } from '../session/session.ts'
import { checkSlot, missingSlot, readSlot, type SlotState } from './slot.ts'
import { requireInstallation } from './upgrade.ts'
import { checkFork, readTimelines, type Timelines } from './timeline.ts'

/** With the histories that the server knows. */
export type PostgresIdentity = SourceIdentity & { readonly timelines: Timelines }

export interface FoundSource {
  readonly identity: PostgresIdentity
  readonly slot: SlotState | undefined
  /** Newest WAL position of the server. */
  readonly head: Position
}

/** @throws TidemarkError SOURCE_CHANGED */
export function refuseOther(
  identity: Pick<SourceIdentity, 'origin'>,
  { systemId, databaseOid }: DatabaseId,
): void {
  const found = databaseOf(identity.origin)
  if (found.systemId !== systemId || found.databaseOid !== databaseOid)
    throw new TidemarkError(
      'SOURCE_CHANGED',
      `the database behind the URL is ${found.systemId}/${found.databaseOid}, the ledger belongs to ${systemId}/${databaseOid}`,
    )
}

/**
 * @param slotName of the backup's slot
 * @param from what is asked for: the slot may stand there or before
 * @throws TidemarkError SOURCE_CHANGED, SLOT_MISSING, SLOT_LOST, SOURCE_DIVERGED, SLOT_AHEAD
 */
export function proveSameSource(
  { identity, slot, head }: FoundSource,
  slotName: string,
  expected: ExpectedSource,
  from: Position,
): void {
  refuseOther(identity, databaseOf(expected.origin))
  if (slot === undefined) throw missingSlot(slotName)
  checkFork(identity.timelines, { timeline: expected.timeline, end: from })
  if (comparePositions(head, expected.end) < 0)
    throw new TidemarkError(
      'SOURCE_DIVERGED',
      `the source ends at ${positionText(head)}, before ${positionText(expected.end)}, which is stored: it was set back to an older state`,
    )
  checkSlot(slot, slotName, from)
}

/**
 * Asks a source that may be streaming at the same time.
 *
 * @param expected read behind the slot: what a running job lets it confirm is in the ledger before
 * @throws TidemarkError as `proveSameSource`, INSTALLATION_MISSING, SOURCE_UNREACHABLE
 */
export async function askSameSource(
  url: string,
  slotName: string,
  expected: () => Promise<ExpectedSource>,
): Promise<{ readonly slot: SlotState | undefined; readonly timelines: Timelines }> {
  const client = await connect({ url, applicationName: APPLICATION_NAME, role: 'source' })
  try {
    const slot = await readSlot(client, slotName)
    const known = await expected()
    const identity = await identifySource(url)
    const { rows } = await client.query<{ lsn: string }>('SELECT pg_current_wal_lsn()::text AS lsn')
    proveSameSource({ identity, slot, head: parsePosition(rows[0]?.lsn ?? '') }, slotName, known, known.end)
    await requireInstallation(client)
    return { slot, timelines: identity.timelines }
  } catch (error) {
    throw connectionError(error, 'source')
  } finally {
    await client.end()
  }
}

export async function identifySource(url: string): Promise<PostgresIdentity> {
  const client = await connect({ url, applicationName: APPLICATION_NAME, replication: true, role: 'source' })
  try {
    const timelines = await readTimelines(client)
    const row = (
      await client.query<{ oid: number; database: string; version: string; encoding: string }>(
        `SELECT d.oid, d.datname AS database, current_setting('server_version_num') AS version, current_setting('server_encoding') AS encoding FROM pg_database d WHERE d.datname = current_database()`,
      )
    ).rows[0]
    if (row === undefined) throw new TidemarkError('PROTOCOL', 'the server does not know its own database')
    return {
      engine: POSTGRES,
      origin: { systemId: timelines.systemId, databaseOid: Number(row.oid) },
      database: row.database,
      timeline: timelines.current,
      serverVersion: Number(row.version),
      encoding: row.encoding,
      timelines,
    }
  } catch (error) {
    throw connectionError(error, 'source')
  } finally {
    await client.end()
  }
}
