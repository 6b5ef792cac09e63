/**
 * What a schema change costs the application with Tidemark's event triggers, against the same change without them: pairs
 * in one run, alternating, timed by the server. Once in a session that has made changes before, and once as the first
 * change of a session, where the functions are planned.
 */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import pg from 'pg'
import { install, planInstallation } from '../../services/engines/postgres/admin/install.ts'
import { systemClock } from '../../services/core/clock.ts'
import { EmbeddedPostgres } from '../../services/demo/embedded-postgres.ts'
import { packageOf } from '../support/servers.ts'
import type { Figure } from './main.ts'

/** What is added may be this much, or as much as the command takes without it. */
const LEAST_MS = 5
const PARTITIONS = 200
const TABLES = (process.env['BENCH_DDL_TABLES'] ?? '200,5000').split(',').map(Number)
const VERSIONS = ['14', '18']
const ROUNDS = Number(process.env['BENCH_DDL_ROUNDS'] ?? 15)

/** In this order; what one makes the next ones need, and the last ones take away. `#` is the round. */
const PLAIN = {
  'CREATE TABLE': 'CREATE TABLE a (id int PRIMARY KEY, v text, m mood)',
  'CREATE TABLE, serial and index':
    'CREATE TABLE b (id serial PRIMARY KEY, n int UNIQUE, v text, CHECK (n > 0))',
  'CREATE TABLE, identity': 'CREATE TABLE c (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text)',
  'ALTER SEQUENCE, of an identity': 'ALTER SEQUENCE c_id_seq RENAME TO c_ids',
  'ADD COLUMN': 'ALTER TABLE a ADD COLUMN w int',
  'DROP COLUMN': 'ALTER TABLE a DROP COLUMN w',
  COMMENT: "COMMENT ON TABLE a IS 'comment #'",
  'CREATE INDEX': 'CREATE INDEX a_v ON a (v)',
  'CREATE FUNCTION': 'CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $$ SELECT 1 $$',
  'CREATE VIEW': 'CREATE VIEW w AS SELECT * FROM a',
  GRANT: 'GRANT SELECT ON a TO PUBLIC',
  'ALTER TYPE ADD VALUE': "ALTER TYPE mood ADD VALUE 'mood #'",
  'DROP VIEW': 'DROP VIEW w',
  'DROP FUNCTION': 'DROP FUNCTION f()',
  'DROP TABLE': 'DROP TABLE a',
  'DROP TABLE, serial and index': 'DROP TABLE b',
  'DROP TABLE, identity': 'DROP TABLE c',
}
const PARTITIONED = {
  COMMENT: "COMMENT ON TABLE p IS 'comment #'",
  DETACH: 'ALTER TABLE p DETACH PARTITION p7',
  ATTACH: 'ALTER TABLE p ATTACH PARTITION p7 FOR VALUES FROM (70) TO (80)',
  'ADD COLUMN': 'ALTER TABLE p ADD COLUMN w int',
  'DROP COLUMN': 'ALTER TABLE p DROP COLUMN w',
  'CREATE INDEX': 'CREATE INDEX p_v ON p (v)',
  'DROP INDEX': 'DROP INDEX p_v',
}
/** Each in a session of its own, and taken back in another. */
const FIRST = {
  'ADD COLUMN': ['ALTER TABLE t1 ADD COLUMN w int', 'ALTER TABLE t1 DROP COLUMN w'],
  'CREATE TABLE': ['CREATE TABLE a (id int PRIMARY KEY, v text)', 'DROP TABLE a'],
  COMMENT: ["COMMENT ON TABLE t1 IS 'comment #'", ''],
  'CREATE FUNCTION': ['CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $$ SELECT 1 $$', 'DROP FUNCTION f()'],
  'DROP TABLE': ['DROP TABLE d', 'CREATE TABLE d (id int PRIMARY KEY, v text)'],
  'ADD COLUMN on partitions': ['ALTER TABLE p ADD COLUMN w int', 'ALTER TABLE p DROP COLUMN w'],
} as const

const SCHEMA = (tables: number): string => `
CREATE TYPE mood AS ENUM ('calm');
CREATE TABLE p (id int, k int NOT NULL, v text DEFAULT 'x', PRIMARY KEY (id, k)) PARTITION BY RANGE (k);
DO $$ BEGIN FOR i IN 0..${PARTITIONS - 1} LOOP EXECUTE format('CREATE TABLE p%s PARTITION OF p FOR VALUES FROM (%s) TO (%s)', i, i * 10, i * 10 + 10); END LOOP; END $$;
DO $$ BEGIN FOR i IN 1..${tables} LOOP EXECUTE format('CREATE TABLE t%s (id int PRIMARY KEY, v text, at timestamptz DEFAULT now())', i); END LOOP; END $$;`

export async function benchDdl(
  folder: string,
  say: (text: string) => void,
  versions: readonly string[] = VERSIONS,
): Promise<Figure[]> {
  const figures: Figure[] = []
  for (const version of versions) {
    const packageRoot = packageOf(version)
    if (packageRoot === undefined) {
      say(`ddl: there is no package of PostgreSQL ${version} here`)
      continue
    }
    const server = await EmbeddedPostgres.create({
      folder: join(folder, version),
      packageRoot,
      settings: {
        fsync: 'off',
        autovacuum: 'off',
        max_locks_per_transaction: '512',
        shared_buffers: '256MB',
      },
    })
    await server.start()
    try {
      for (const tables of TABLES) figures.push(...(await benchDatabase(server, version, tables, say)))
    } finally {
      await server.destroy()
    }
  }
  return figures
}

async function benchDatabase(
  server: EmbeddedPostgres,
  version: string,
  tables: number,
  say: (text: string) => void,
): Promise<Figure[]> {
  const [bare, guarded] = [`bare_${tables}`, `guarded_${tables}`]
  await inSession(server.url(), ({ client }) => client.query(`CREATE DATABASE ${bare}`))
  await inSession(server.url(bare), ({ client }) => client.query(SCHEMA(tables)))
  await inSession(server.url(), ({ client }) => client.query(`CREATE DATABASE ${guarded} TEMPLATE ${bare}`))
  await inSession(server.url(guarded), ({ client }) => installInto(client))
  for (const name of [bare, guarded])
    await inSession(server.url(name), ({ client }) => client.query('VACUUM ANALYZE'))
  const pairs = new Pairs()
  const place = (what: string): string => `${what}, ${tables} tables, PostgreSQL ${version}`
  await inSession(server.url(bare), (without) =>
    inSession(server.url(guarded), async (within) => {
      for (let round = -1; round < ROUNDS; round++) {
        await forget(within)
        for (const [kind, commands] of [
          ['', PLAIN],
          [` on ${PARTITIONS} partitions`, PARTITIONED],
        ] as const)
          for (const [name, command] of Object.entries(commands))
            await pairs.take(round, place(name + kind), command, [without, within])
      }
    }),
  )
  for (let round = 0; round < Math.ceil(ROUNDS / 2); round++)
    for (const [name, [command, undo]] of Object.entries(FIRST))
      await inSession(server.url(bare), (without) =>
        inSession(server.url(guarded), async (within) => {
          if (round === 0 && name === 'DROP TABLE')
            for (const database of [bare, guarded])
              await inSession(server.url(database), (other) => other.client.query(undo))
          await pairs.take(round, place(`${name}, first of a session`), command, [without, within])
          if (undo !== '')
            for (const database of [bare, guarded])
              await inSession(server.url(database), (other) => other.client.query(undo))
        }),
      )
  const figures = pairs.figures()
  for (const figure of figures) say(`ddl: ${figure.what}: ${figure.measured}`)
  return figures
}

async function installInto(client: pg.Client): Promise<void> {
  const installation = { stream: 'bench', publication: 'bench', slot: 'bench' }
  await install(client, installation, await planInstallation(client, installation), systemClock)
}

/** As `up` does with records that are durable, and the server's own clean-up behind it. */
async function forget({ client }: Session): Promise<void> {
  await client.query('SELECT tidemark.forget(pg_snapshot_xmin(pg_current_snapshot()))')
  await client.query('VACUUM tidemark.ddl')
}

async function inSession<T>(url: string, action: (session: Session) => Promise<T>): Promise<T> {
  const client = new pg.Client(url)
  await client.connect()
  try {
    const pid = (await client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')).rows[0]!.pid
    return await action({ client, pid })
  } finally {
    await client.end()
  }
}

interface Session {
  readonly client: pg.Client
  readonly pid: number
}

/** Milliseconds. */
interface Time {
  /** Of the server's process on a processor: what other processes of a busy machine do does not show in it. */
  readonly cpu: number
  readonly wall: number
}

class Pairs {
  readonly #taken = new Map<string, { without: Time[]; within: Time[] }>()

  /** A round below 0 is not counted: it fills caches. */
  async take(
    round: number,
    what: string,
    command: string,
    [without, within]: readonly [Session, Session],
  ): Promise<void> {
    const text = command.replaceAll('#', String(round))
    // Who comes first takes turns.
    const [first, second] = round % 2 === 0 ? [without, within] : [within, without]
    const a = await timed(first, text)
    const b = await timed(second, text)
    if (round < 0) return
    const taken = this.#taken.get(what) ?? { without: [], within: [] }
    taken.without.push(first === without ? a : b)
    taken.within.push(first === without ? b : a)
    this.#taken.set(what, taken)
  }

  figures(): Figure[] {
    return [...this.#taken].map(([what, { without, within }]) => {
      const [own, all] = [at(without, 'cpu', 0.5), at(within, 'cpu', 0.5)]
      const added = all - own
      const allowed = Math.max(LEAST_MS, own)
      const p95 = (key: keyof Time): string =>
        `${at(without, key, 0.95).toFixed(1)} and ${at(within, key, 0.95).toFixed(1)}`
      return {
        what,
        against: `${own.toFixed(1)} ms without`,
        measured: `${added.toFixed(1)} ms more (p95 ${p95('cpu')}; by the clock ${at(without, 'wall', 0.5).toFixed(1)} and ${at(within, 'wall', 0.5).toFixed(1)})`,
        reach: `at most ${allowed.toFixed(1)} ms more`,
        reached: added <= allowed,
      }
    })
  }
}

async function timed({ client, pid }: Session, command: string): Promise<Time> {
  const cpu = await processorTime(pid)
  const from = performance.now()
  await client.query(command)
  const wall = performance.now() - from
  const after = await processorTime(pid)
  return { wall, cpu: cpu === undefined || after === undefined ? wall : after - cpu }
}

/** Milliseconds that a process has run; undefined where the system does not tell. */
async function processorTime(pid: number): Promise<number | undefined> {
  const text = await readFile(`/proc/${pid}/schedstat`, 'utf8').catch(() => undefined)
  return text === undefined ? undefined : Number(text.split(' ')[0]) / 1e6
}

function at(times: readonly Time[], key: keyof Time, share: number): number {
  const sorted = times.map((time) => time[key]).sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
}
