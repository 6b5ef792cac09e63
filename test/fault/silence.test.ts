/** A connection that goes silent without closing is noticed; one that is only busy is left alone. */
import { describe, expect, test } from 'vitest'
import { WalStream } from '../../services/engines/postgres/source/wal-stream.ts'
import { systemClock } from '../../services/core/clock.ts'
import { LIMITS } from '../../services/core/limits.ts'
import { parsePosition, positionOf, positionText } from '../../services/core/position.ts'
import type { LogItem } from '../../services/core/transaction.ts'
import { Backup, oneVersion, testedVersions } from '../support/backup.ts'
import { Line } from '../support/silent-line.ts'

/** The answer of a server that is there may take long: the machine is busy. */
const QUICK = { silenceMs: 1_200, askMs: 60_000, lookMs: 300 }

async function withStream(
  version: string,
  publication: string | undefined,
  use: (setting: { backup: Backup; line: Line; items: LogItem[]; ended: Promise<unknown> }) => Promise<void>,
  silence = QUICK,
): Promise<void> {
  await using backup = await Backup.prepare({
    version,
    setup: 'CREATE TABLE t (v text); CREATE TABLE other (id int PRIMARY KEY)',
  })
  // A server that does not give up by itself. With 0 it would look for what we ask every hundred changes.
  await backup.source.query(`ALTER DATABASE ${backup.database} SET wal_sender_timeout = '1h'`)
  // What it decodes goes through its disk, which takes several times as long as writing the rows does.
  await backup.source.query(`ALTER DATABASE ${backup.database} SET logical_decoding_work_mem = '64kB'`)
  if (publication !== undefined)
    await backup.source.query(`CREATE PUBLICATION ${publication} FOR TABLE other`)
  await backup.init()
  const slot = await backup.source.query<{ l: string }>(
    'SELECT confirmed_flush_lsn::text AS l FROM pg_replication_slots WHERE slot_name = $1',
    [backup.slot],
  )
  const line = new Line(new URL(backup.sourceUrl))
  const stop = new AbortController()
  const stream = new WalStream({
    url: await line.open(backup.sourceUrl),
    slot: backup.slot,
    publication: publication ?? backup.slot,
    text: 'utf8',
    timelineOf: () => 1,
    applicationName: 'tidemark_backup',
    clock: systemClock,
    slotState: () => Promise.resolve(undefined),
    silence,
  })
  const items: LogItem[] = []
  const ended = (async () => {
    for await (const item of stream.run(positionOf(parsePosition(slot.rows[0]!.l)), stop.signal))
      items.push(item)
  })().catch((error: unknown) => error)
  try {
    await backup.source.query('INSERT INTO other VALUES (1)')
    await backup.until(() => items.some((item) => item.kind === 'changes'))
    await use({ backup, line, items, ended })
  } finally {
    stop.abort(new DOMException('stop', 'AbortError'))
    line.close()
    await ended
  }
}

test('a silent connection is noticed within a minute', () => {
  const { silenceMs, askMs, lookMs } = LIMITS.silence
  expect(silenceMs + silenceMs / 6 + askMs + lookMs + askMs).toBeLessThanOrEqual(60_000)
})

describe.each(testedVersions())('PostgreSQL %s', (version) => {
  test('a huge transaction that is decoded and filtered says nothing for long, and is not cut', async () => {
    await withStream(version, 'few', async ({ backup, line, items, ended }) => {
      const before = line.made
      let state = 'streaming'
      void ended.then(() => (state = 'cut'))
      // Until one has taken so long that the server was asked about it.
      for (let rows = 150_000; line.made === before; rows *= 2) {
        await backup.source.query("INSERT INTO t SELECT 'not published' FROM generate_series(1, $1::int)", [
          rows,
        ])
        // A place behind it that stays: others write to this server as well.
        const head = await backup.head()
        await backup.source.query('INSERT INTO other SELECT max(id) + 1 FROM other')
        await backup.until(
          async () =>
            state === 'cut' ||
            line.made > before ||
            (
              await backup.source.query(
                'SELECT FROM pg_stat_replication r JOIN pg_replication_slots s ON s.active_pid = r.pid WHERE s.slot_name = $1 AND r.sent_lsn >= $2',
                [backup.slot, positionText(head)],
              )
            ).rowCount === 1,
          120_000,
        )
        expect(state).toBe('streaming')
      }
      await backup.source.query('INSERT INTO other VALUES (1000000)')
      const rows = (): number =>
        items.reduce((sum, item) => sum + (item.kind === 'changes' ? item.changes.count : 0), 0)
      const count = Number(
        (await backup.source.query<{ n: string }>('SELECT count(*)::text AS n FROM other')).rows[0]!.n,
      )
      await backup.until(() => state === 'cut' || rows() >= count, 120_000)
      expect(state).toBe('streaming')
    })
  })
})

// What does not depend on the server's version.
describe.each(oneVersion())('PostgreSQL %s', (version) => {
  test('a firewall forgets the connection: the server waits for us for ever, and we notice', async () => {
    await withStream(version, undefined, async ({ line, ended }) => {
      line.isSilent = true
      expect(await ended).toMatchObject({
        code: 'SOURCE_UNREACHABLE',
        message: expect.stringContaining('the server waits for us') as string,
      })
    })
  })
})

describe.each(oneVersion())('PostgreSQL %s', (version) => {
  test('the host is gone without a word', async () => {
    const silence = { ...QUICK, askMs: 3_000 }
    await withStream(
      version,
      undefined,
      async ({ line, ended }) => {
        line.newAreSilent = true
        line.isSilent = true
        expect(await ended).toMatchObject({
          code: 'SOURCE_UNREACHABLE',
          message: expect.stringContaining('silent') as string,
        })
      },
      silence,
    )
  })
})
