/** The known ways in which such systems lose data, each tried on the real server against our own code. */
import pg from 'pg'
import { describe, expect, test } from 'vitest'
import { Feedback, statusUpdate } from '../../services/engines/postgres/source/feedback.ts'
import { WalStream } from '../../services/engines/postgres/source/wal-stream.ts'
import { systemClock } from '../../services/core/clock.ts'
import { TidemarkError } from '../../services/core/errors.ts'
import { comparePositions, parsePosition, positionOf, positionText } from '../../services/core/position.ts'
import type { LogItem } from '../../services/core/transaction.ts'
import { Backup, digests, oneVersion, shown, testedVersions } from '../support/backup.ts'

/** The stream alone, acknowledged by hand. */
class Reader {
  readonly items: LogItem[] = []
  readonly stream: WalStream
  readonly #stop = new AbortController()
  #done: Promise<void> = Promise.resolve()

  constructor(backup: Backup) {
    this.stream = new WalStream({
      url: backup.sourceUrl,
      slot: backup.slot,
      publication: backup.slot,
      text: 'utf8',
      timelineOf: () => 1,
      applicationName: 'tidemark_backup',
      clock: systemClock,
      slotState: () => Promise.resolve(undefined),
    })
  }

  start(from: bigint): void {
    this.#done = (async () => {
      for await (const item of this.stream.run(positionOf(from), this.#stop.signal)) this.items.push(item)
    })().catch((error: unknown) => {
      if (!this.#stop.signal.aborted) throw error
    })
  }

  rows(): number {
    return this.items.reduce((sum, item) => sum + (item.kind === 'changes' ? item.changes.count : 0), 0)
  }

  async stop(): Promise<void> {
    this.#stop.abort(new DOMException('stop', 'AbortError'))
    await this.#done
  }
}

async function waitFor(condition: () => boolean | Promise<boolean>, limitMs = 60_000): Promise<void> {
  const deadline = performance.now() + limitMs
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error('waited in vain')
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

async function slotPosition(backup: Backup): Promise<bigint> {
  return parsePosition(
    (
      await backup.source.query<{ l: string }>(
        'SELECT confirmed_flush_lsn::text AS l FROM pg_replication_slots WHERE slot_name = $1',
        [backup.slot],
      )
    ).rows[0]!.l,
  )
}

async function released(backup: Backup): Promise<void> {
  await waitFor(
    async () =>
      (
        await backup.source.query('SELECT 1 FROM pg_replication_slots WHERE slot_name = $1 AND active', [
          backup.slot,
        ])
      ).rowCount === 0,
  )
}

describe.each(testedVersions())('PostgreSQL %s', (version) => {
  test('what is received and not durable is never acknowledged, whatever the timers say', async () => {
    await using backup = await Backup.prepare({ version, setup: 'CREATE TABLE t (id int PRIMARY KEY)' })
    await backup.init()
    const from = await slotPosition(backup)
    const reader = new Reader(backup)
    reader.start(from)
    await backup.source.query('INSERT INTO t VALUES (1)')
    await waitFor(() => reader.rows() === 1)
    // The server asks at half of wal_sender_timeout (10 s here); two of our own intervals pass as well.
    await new Promise((resolve) => setTimeout(resolve, 7_000))
    reader.stream.wantHeartbeat()
    await reader.stop()
    await released(backup)
    expect(await slotPosition(backup)).toBe(from)
    const again = new Reader(backup)
    again.start(from)
    await waitFor(() => again.rows() === 1)
    await again.stop()
  })

  test('acknowledging one of two commits that lie back to back brings the other one again', async () => {
    await using backup = await Backup.prepare({ version, setup: 'CREATE TABLE t (id int PRIMARY KEY)' })
    await backup.init()
    const [a, b] = [await backup.client(), await backup.client()]
    const reader = new Reader(backup)
    reader.start(await slotPosition(backup))
    await a.query('BEGIN; INSERT INTO t VALUES (1)')
    await b.query('BEGIN; INSERT INTO t VALUES (2)')
    await Promise.all([a.query('COMMIT'), b.query('COMMIT')])
    await waitFor(() => reader.rows() === 2)
    const first = reader.items.find((item) => item.kind === 'changes' && item.end !== undefined)
    if (first?.kind !== 'changes' || first.end === undefined) throw new Error('no transaction')
    const { end: endLsn } = first
    reader.stream.acknowledge(endLsn)
    await waitFor(async () => (await slotPosition(backup)) >= endLsn)
    await reader.stop()
    await released(backup)
    // No further than was acknowledged: what lies behind it would not come again.
    expect(positionText(positionOf(await slotPosition(backup)))).toBe(positionText(endLsn))
    const again = new Reader(backup)
    again.start(endLsn)
    await waitFor(() => again.rows() === 1)
    await again.stop()
    expect(again.items.filter((item) => item.kind === 'changes').length).toBe(1)
  })

  test('a role without rights can neither forge a record nor gain rights through the trigger', async () => {
    await using backup = await Backup.start({
      version,
      setup: 'CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)',
    })
    const role = `r_${backup.database}`
    await backup.source.query(`CREATE ROLE ${role} LOGIN; GRANT ALL ON SCHEMA public TO ${role}`)
    const url = new URL(backup.sourceUrl)
    url.username = role
    const mallory = new pg.Client(url.toString())
    await mallory.connect()
    try {
      await mallory.query(
        "SELECT pg_logical_emit_message(true, 'ddl', 'DROP TABLE t'), pg_logical_emit_message(true, 'tidemark', '{\"kind\":\"drop\"}')",
      )
      for (const sql of [
        "INSERT INTO tidemark.ddl (xid, command, kind, oid, facts) VALUES ('1', 'DROP TABLE', 'drop', 1, '{}')",
        'SELECT * FROM tidemark.ddl',
        'SELECT tidemark.ensure_identity(1)',
        "SELECT tidemark.record_table('x', 1)",
        'ALTER FUNCTION tidemark.on_ddl() OWNER TO CURRENT_USER',
        'ALTER EVENT TRIGGER tidemark_ddl DISABLE',
      ]) {
        await expect(mallory.query(sql), sql).rejects.toMatchObject({ code: '42501' })
      }
      // A search path, operators and functions of its own must not be used by the trigger.
      await mallory.query(
        `CREATE FUNCTION public.format(text, text) RETURNS text LANGUAGE sql AS 'SELECT ''x'''; SET search_path = public, pg_catalog`,
      )
      await mallory.query('CREATE TABLE mine (v text); INSERT INTO mine VALUES (1); UPDATE mine SET v = 2')
      expect(
        (
          await mallory.query<{ s: string }>(
            'SELECT rolsuper::text AS s FROM pg_roles WHERE rolname = CURRENT_USER',
          )
        ).rows[0]!.s,
      ).toBe('false')
      await backup.durable()
      const restored = await backup.restore('latest')
      expect(shown(await digests(restored.url))).toEqual(shown(await digests(backup.sourceUrl)))
    } finally {
      await mallory.end()
      // The restored database in the same server may still own something under this role; it goes with the server.
      await backup.source.query(`DROP OWNED BY ${role} CASCADE`)
    }
  })

  test('the application is never hurt: keyless tables, dropped keys, dropped identity indexes', async () => {
    await using backup = await Backup.start({
      version,
      setup:
        'CREATE TABLE keyed (id int PRIMARY KEY, v int); CREATE TABLE indexed (id int NOT NULL, v int); CREATE UNIQUE INDEX indexed_id ON indexed (id); ALTER TABLE indexed REPLICA IDENTITY USING INDEX indexed_id; INSERT INTO keyed VALUES (1, 1), (2, 2); INSERT INTO indexed VALUES (1, 1), (2, 2)',
    })
    const app = await backup.client()
    await app.query('BEGIN')
    await app.query('CREATE TABLE bare (v int, t text)')
    await app.query("INSERT INTO bare VALUES (1, 'a'), (1, 'a'), (2, 'b')")
    await app.query("UPDATE bare SET t = 'c' WHERE v = 1")
    await app.query('DELETE FROM bare WHERE v = 2')
    await app.query('COMMIT')
    await app.query('ALTER TABLE keyed DROP CONSTRAINT keyed_pkey')
    await app.query('UPDATE keyed SET v = 5')
    await app.query('DELETE FROM keyed WHERE id = 2')
    await app.query('DROP INDEX indexed_id')
    await app.query('UPDATE indexed SET v = 5')
    await app.query('CREATE TABLE as_select AS SELECT * FROM bare')
    await app.query('UPDATE as_select SET v = 9')
    await app.query(
      'SET session_replication_role = replica; CREATE TABLE under_replica (x int); INSERT INTO under_replica VALUES (1); RESET session_replication_role; UPDATE under_replica SET x = 2',
    )
    await backup.durable()
    const restored = await backup.restore('latest')
    expect(shown(await digests(restored.url))).toEqual(shown(await digests(backup.sourceUrl)))
  })
})

describe.each(testedVersions().filter((version) => Number(version) >= 17))('PostgreSQL %s', (version) => {
  test('a login event trigger that uses names without a schema lets every session of ours in', async () => {
    await using backup = await Backup.prepare({
      version,
      setup: `CREATE TABLE logins (who text, at timestamptz DEFAULT now()); ALTER TABLE logins ADD COLUMN id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY;
        CREATE FUNCTION note_login() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO logins (who) VALUES (current_user || ' ' || to_char(DATE '02/03/2026', 'YYYY-MM-DD')); END $$;
        CREATE EVENT TRIGGER on_login ON login EXECUTE FUNCTION note_login()`,
    })
    await backup.source.query(`ALTER DATABASE ${backup.database} SET DateStyle = 'SQL, DMY'`)
    await backup.init()
    await backup.up()
    const client = await backup.client()
    await client.query(`SELECT 1`)
    await backup.durable()
    await backup.stop()
    const seen = await backup.source.query<{ who: string }>(
      `SELECT DISTINCT right(who, 10) AS who FROM logins`,
    )
    // The trigger meant what its author meant, in our sessions too.
    expect(seen.rows).toEqual([{ who: '2026-03-02' }])
  })
})

test('feedback carries the durable position unchanged and never goes back', () => {
  const sent: Buffer[] = []
  const feedback = new Feedback({
    send: (body) => sent.push(body),
    clock: systemClock,
    durable: parsePosition('0/100'),
    intervalMs: 60_000,
  })
  feedback.advance(parsePosition('0/200'))
  feedback.advance(parsePosition('0/150'))
  feedback.answer()
  feedback.stop()
  expect(sent.map((body) => positionText(positionOf(body.readBigUInt64BE(9))))).toEqual(['0/200', '0/200'])
  expect(statusUpdate(parsePosition('A/B'), 0).length).toBe(34)
  expect(comparePositions(feedback.durable, parsePosition('0/200'))).toBe(0)
})

// What does not depend on the server's version.
describe.each(oneVersion())('PostgreSQL %s', (version) => {
  test('a store that fails stops everything behind it: nothing later is acknowledged over the hole', async () => {
    await using backup = await Backup.prepare({ version, setup: 'CREATE TABLE t (id int PRIMARY KEY)' })
    await backup.init()
    await backup.up()
    await backup.durable()
    const { store } = backup.repository.ledger
    const put = store.putIfAbsent.bind(store)
    let failing = true
    store.putIfAbsent = (name, chunks, signal) =>
      failing
        ? Promise.reject(new TidemarkError('STORE_UNREACHABLE', 'down for the test'))
        : put(name, chunks, signal)
    const before = await slotPosition(backup)
    for (let i = 1; i <= 5; i++) await backup.source.query('INSERT INTO t VALUES ($1)', [i])
    await backup.until(() => backup.events.filter((e) => e.event === 'retry').length >= 2)
    expect(await slotPosition(backup)).toBe(before)
    failing = false
    await backup.durable()
    const restored = await backup.restore('latest')
    expect(shown(await digests(restored.url))).toEqual(shown(await digests(backup.sourceUrl)))
  })
})

describe.each(oneVersion())('PostgreSQL %s', (version) => {
  test('a table that is rewritten or emptied between the snapshot and its copy is not lost', async () => {
    let disturb: (() => Promise<void>) | undefined
    await using backup = await Backup.prepare({
      version,
      setup:
        'CREATE TABLE a (id int PRIMARY KEY, v int); CREATE TABLE b (id int PRIMARY KEY, v int); CREATE TABLE c (id int PRIMARY KEY, v int); INSERT INTO a SELECT i, i FROM generate_series(1, 1000) i; INSERT INTO b SELECT * FROM a; INSERT INTO c SELECT * FROM a',
      onPoint: (point) => (point === 'base-snapshot' ? disturb?.() : undefined),
    })
    await backup.init()
    disturb = async () => {
      disturb = undefined
      for (const sql of ['ALTER TABLE a ALTER COLUMN v TYPE bigint', 'TRUNCATE b', 'DROP TABLE c'])
        await backup.source.query(sql)
    }
    await backup.up()
    await backup.durable()
    const restored = await backup.restore('latest')
    const rows = await digests(restored.url)
    expect(shown(rows)).toEqual(shown(await digests(backup.sourceUrl)))
    expect(rows.find((t) => t.name === 'a')?.rows).toBe(1000n)
  })
})

describe.each(oneVersion())('PostgreSQL %s', (version) => {
  test('an ALTER during the base waits for one part of the copy at most, and nothing is lost', async () => {
    let during: (() => Promise<void>) | undefined
    let stored = 0
    await using backup = await Backup.prepare({
      version,
      setup: `CREATE TABLE big (id int PRIMARY KEY, body text); ALTER TABLE big ALTER body SET STORAGE PLAIN; INSERT INTO big SELECT g, repeat(md5(g::text), 30) FROM generate_series(1, 90000) g`,
      onPoint: (point) => {
        if (point !== 'base-part-stored') return
        stored++
        const action = during
        during = undefined
        void action?.()
      },
    })
    await backup.init()
    const altering = Promise.withResolvers<number>()
    const client = await backup.client()
    during = async () => {
      await client
        .query(`ALTER TABLE big ADD COLUMN added text DEFAULT 'x'; UPDATE big SET added = 'y' WHERE id < 100`)
        .then(() => altering.resolve(stored), altering.reject)
    }
    await backup.up()
    // The one behind which it began, and the one that it may have waited for.
    const before = await backup.guard(altering.promise)
    expect(before).toBeLessThanOrEqual(2)
    await backup.durable()
    expect(stored).toBeGreaterThan(before)
    const restored = await backup.restore('latest')
    expect(shown(await digests(restored.url))).toEqual(shown(await digests(backup.sourceUrl)))
  })
})

describe.each(oneVersion())('PostgreSQL %s', (version) => {
  test('rows of one COPY share an LSN and are all there once, whatever the cuts', async () => {
    await using backup = await Backup.start({
      version,
      segmentBytes: 64 * 1024,
      setup: 'CREATE TABLE c (id int PRIMARY KEY, v text)',
    })
    await backup.source.query("INSERT INTO c SELECT i, repeat('x', 200) FROM generate_series(1, 20000) i")
    await backup.source.query('UPDATE c SET id = -id')
    await backup.durable()
    await backup.crash()
    await backup.up()
    await backup.source.query('INSERT INTO c VALUES (99999999, NULL)')
    await backup.durable()
    const restored = await backup.restore('latest')
    expect(shown(await digests(restored.url))).toEqual(shown(await digests(backup.sourceUrl)))
  })
})
