/** Over random histories of DDL the changes that a reader finds make the same schema as a whole reading does. */
import { describe, expect, test } from 'vitest'
import { SchemaReader } from '../../services/engines/postgres/catalog/read-schema.ts'
import { connect } from '../../services/engines/postgres/session/session.ts'
import { SchemaReadings } from '../../services/engines/postgres/catalog/schema-reader.ts'
import { systemClock } from '../../services/core/clock.ts'
import type { SchemaFacts } from '../../services/core/transaction.ts'
import { schemaChange, withChange } from '../../services/formats/schema-change.ts'
import { Backup, oneVersion, testedVersions } from '../support/backup.ts'
import { everyKind, withRoles } from '../support/every-kind.ts'

const SEED = Number(process.env['TIDEMARK_SEED'] ?? 7)
const STEPS = Number(process.env['TIDEMARK_HISTORIES'] ?? 30)

/** A small generator of its own, so that a seed tells the history. */
function numbers(seed: number): (below: number) => number {
  let state = seed >>> 0
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
}

/** Commands of which many are refused: nothing changed then, which has to be seen as well. */
function command(pick: (below: number) => number): string {
  const t = (): string => `s${pick(2)}.t${pick(4)}`
  const v = (): string => `s${pick(2)}.v${pick(3)}`
  const n = (): number => pick(4)
  const commands: readonly (() => string)[] = [
    () => `CREATE TABLE ${t()} (id int PRIMARY KEY, a int DEFAULT 1, b text CHECK (b <> 'x'))`,
    () => `CREATE TABLE ${t()} (id int) PARTITION BY LIST (id)`,
    () => `CREATE TABLE ${t()} PARTITION OF ${t()} FOR VALUES IN (${n()})`,
    () => `DROP TABLE ${t()} CASCADE`,
    () => `ALTER TABLE ${t()} RENAME TO t${n()}`,
    () => `ALTER TABLE ${t()} RENAME COLUMN a TO c${n()}`,
    () => `ALTER TABLE ${t()} RENAME COLUMN c${n()} TO a`,
    () => `ALTER TABLE ${t()} ADD COLUMN d${n()} s${pick(2)}.kind`,
    () => `ALTER TABLE ${t()} DROP COLUMN d${n()}`,
    () => `ALTER TABLE ${t()} ADD CONSTRAINT f${n()} FOREIGN KEY (a) REFERENCES ${t()} (id)`,
    () => `ALTER TABLE ${t()} INHERIT ${t()}`,
    () => `ALTER TABLE ${t()} SET SCHEMA s${pick(2)}`,
    () => `CREATE INDEX i${n()} ON ${t()} (a)`,
    () => `ALTER INDEX s${pick(2)}.i${n()} RENAME TO i${n()}`,
    () => `DROP INDEX s${pick(2)}.i${n()}`,
    () => `CREATE VIEW ${v()} AS SELECT id, a FROM ${t()}`,
    () => `CREATE VIEW ${v()} AS SELECT * FROM ${v()}`,
    () => `ALTER VIEW ${v()} RENAME TO v${n()}`,
    () => `DROP VIEW ${v()} CASCADE`,
    () => `CREATE TYPE s${pick(2)}.kind AS ENUM ('one', 'two')`,
    () => `ALTER TYPE s${pick(2)}.kind ADD VALUE IF NOT EXISTS 'x${n()}'`,
    () => `ALTER TYPE s${pick(2)}.kind RENAME TO kind${n()}`,
    () => `ALTER TYPE s${pick(2)}.kind${n()} RENAME TO kind`,
    () => `DROP TYPE s${pick(2)}.kind CASCADE`,
    () => `CREATE FUNCTION s${pick(2)}.f${n()}(x ${t()}) RETURNS int LANGUAGE sql AS 'SELECT 1'`,
    () => `CREATE FUNCTION s${pick(2)}.trg() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'`,
    () => `ALTER FUNCTION s${pick(2)}.trg() RENAME TO trg${n()}`,
    () => `CREATE TRIGGER g${n()} BEFORE INSERT ON ${t()} FOR EACH ROW EXECUTE FUNCTION s${pick(2)}.trg()`,
    () => `ALTER TABLE ${t()} DISABLE TRIGGER ALL`,
    () => `CREATE POLICY p${n()} ON ${t()} USING (a > ${n()})`,
    () => `DROP POLICY p${n()} ON ${t()}`,
    () => `COMMENT ON TABLE ${t()} IS ${pick(2) === 0 ? 'NULL' : "'said'"}`,
    () => `COMMENT ON CONSTRAINT f${n()} ON ${t()} IS 'said'`,
    () => `GRANT SELECT ON ${t()} TO PUBLIC`,
    () => `REVOKE ALL ON ALL TABLES IN SCHEMA s${pick(2)} FROM PUBLIC`,
    () => `ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC`,
    () => `CREATE SEQUENCE s${pick(2)}.q${n()}`,
    () => `ALTER SEQUENCE s${pick(2)}.q${n()} OWNED BY ${t()}.a`,
    () => `ALTER TABLE ${t()} ALTER a SET DEFAULT nextval('s${pick(2)}.q${n()}')`,
    () => `ALTER SEQUENCE s${pick(2)}.q${n()} RENAME TO q${n()}`,
    () => `CREATE DOMAIN s${pick(2)}.dom AS int CHECK (VALUE > 0)`,
    () => `ALTER DOMAIN s${pick(2)}.dom DROP CONSTRAINT dom_check`,
    () => `CREATE DOMAIN s${pick(2)}.doms AS numeric(4,2)[]`,
    () => `COMMENT ON DOMAIN s${pick(2)}.doms IS ${pick(2) === 0 ? 'NULL' : "'said'"}`,
    () => `DROP DOMAIN s${pick(2)}.doms`,
    () => `ALTER SCHEMA s1 RENAME TO sx`,
    () => `ALTER SCHEMA sx RENAME TO s1`,
    () => `CREATE STATISTICS s${pick(2)}.st${n()} ON id, a FROM ${t()}`,
    () => `CREATE RULE r AS ON INSERT TO ${t()} DO ALSO SELECT a FROM ${t()}`,
    () => `ALTER TABLE ${t()} REPLICA IDENTITY ${pick(2) === 0 ? 'FULL' : 'DEFAULT'}`,
    () => `SET tidemark_nothing.x = '1'; ALTER TABLE ${t()} ALTER a SET STATISTICS ${n()}`,
  ]
  return commands[pick(commands.length)]!()
}

describe.each(oneVersion())('PostgreSQL %s', (version) => {
  test(`changes make what a whole reading makes (seed ${SEED})`, async () => {
    await using backup = await Backup.prepare({ version, setup: 'CREATE SCHEMA s0; CREATE SCHEMA s1' })
    await backup.init()
    const client = await connect({ url: backup.sourceUrl, applicationName: 'test', role: 'source' })
    const pick = numbers(SEED)
    const done: string[] = []
    try {
      const reader = new SchemaReader()
      let stored = await reader.read(client)
      for (let step = 0; step < STEPS; step++) {
        for (let left = 1 + pick(3); left > 0; left--) {
          const sql = command(pick)
          const outcome = await backup.source.query(sql).then(
            () => 'done',
            () => 'refused',
          )
          if (outcome === 'done') done.push(sql)
        }
        const known = await reader.read(client)
        const change = schemaChange(stored, known)
        const kept = withChange(stored, JSON.parse(JSON.stringify(change)) as typeof change)
        const whole = await new SchemaReader().read(client)
        const history = `after:\n${done.slice(-8).join('\n')}`
        expect(known.statements, history).toEqual(whole.statements)
        expect(kept.statements, history).toEqual(JSON.parse(JSON.stringify(whole.statements)))
        expect(kept.notes, history).toEqual(whole.notes)
        expect(known.unsettled).toEqual([])
        stored = known
      }
      expect(done.length).toBeGreaterThan(STEPS / 6)
    } finally {
      await client.end()
    }
  }, 240_000)
})

describe.each(testedVersions())('PostgreSQL %s', (version) => {
  test('one object of every kind that is made behind a reading is in the next one', async () => {
    await withRoles(version, async (roles) => {
      await using backup = await Backup.prepare({ version })
      await backup.init()
      const client = await connect({ url: backup.sourceUrl, applicationName: 'test', role: 'source' })
      try {
        const reader = new SchemaReader()
        await reader.read(client)
        await backup.source.query(everyKind(version, roles))
        const known = await reader.read(client)
        const whole = await new SchemaReader().read(client)
        expect(known.statements).toEqual(whole.statements)
        expect(known.notes).toEqual(whole.notes)
      } finally {
        await client.end()
      }
    })
  })
})

describe.each(oneVersion())('PostgreSQL %s', (version) => {
  test('the reading for a base has what changed, and the log goes on from the one before it', async () => {
    await using backup = await Backup.prepare({ version, setup: 'CREATE TABLE one (id int)' })
    await backup.init()
    const readings = new SchemaReadings({
      connect: () => connect({ url: backup.sourceUrl, applicationName: 'test', role: 'source' }),
      clock: systemClock,
    })
    const first = await readings.whole()
    await backup.source.query('ALTER TABLE one ADD COLUMN a text; CREATE TABLE two (id int)')
    const ofBase = await readings.now()
    await backup.source.query('DROP TABLE two; CREATE TABLE three (id int)')
    const change = await readings.since(first.reading)
    const whole = await readings.whole()
    expect(withChange(first, change!).statements).toEqual(whole.statements)
    expect(await readings.since(first.reading)).toBeUndefined()
    const tables = (facts: SchemaFacts): string[] =>
      facts.statements.flatMap(({ sql }) => /^CREATE TABLE "public"\."(\w+)" .*/.exec(sql)?.[1] ?? [])
    expect([first, ofBase, whole].map((facts) => tables(facts).sort())).toEqual([
      ['one'],
      ['one', 'two'],
      ['one', 'three'],
    ])
    expect(JSON.stringify(ofBase.statements)).toContain('\\"a\\" text')
  })
})
