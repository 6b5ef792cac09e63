/** A command at a parent tells parts of its partitions: the rights that those were given before stay with them. */
import { describe, expect, test } from 'vitest'
import { Backup, testedVersions } from '../support/backup.ts'
import { expectSameSchema } from '../support/schema-oracle.ts'
import { unseen } from '../support/unseen.ts'

const SETUP = `CREATE TABLE msg (id int PRIMARY KEY) PARTITION BY RANGE (id);
  CREATE TABLE msg_1 PARTITION OF msg FOR VALUES FROM (0) TO (10); CREATE TABLE tick (n int PRIMARY KEY, xid text)`

describe.each(testedVersions())('PostgreSQL %s', (version) => {
  test.each(['before the backup', 'with a record'])(
    'given %s, and taken away without one: the reading alone knows',
    { timeout: 120_000 },
    async (when) => {
      const given = 'GRANT SELECT ON msg_1 TO PUBLIC'
      const isRecorded = when === 'with a record'
      await using backup = await Backup.start({ version, setup: isRecorded ? SETUP : `${SETUP}; ${given}` })
      const { source } = backup
      if (isRecorded) await source.query(given)
      await backup.durable()
      await unseen(source, ['REVOKE SELECT ON msg_1 FROM PUBLIC'])
      await source.query('CREATE TABLE read_again ()')
      await backup.until(() =>
        backup.repository.catalog.generation!.schemas.some(({ body }) => body.untold !== undefined),
      )
      await source.query(
        `BEGIN; ALTER TABLE msg ADD CHECK (id < 1000); INSERT INTO tick VALUES (1, pg_current_xact_id()::text); COMMIT; CREATE TABLE behind ()`,
      )
      await backup.durable()
      const { rows } = await source.query<{ xid: string }>('SELECT xid FROM tick')
      await source.query('DROP TABLE behind')
      const restored = await backup.restore(`xid:${rows[0]!.xid}`)
      expect(restored.result!.unmade).toEqual([])
      await expectSameSchema(backup.sourceUrl, restored.url)
    },
  )

  /** Restores to a command at the parent, behind which nothing is read before there is more. */
  async function behindParent(backup: Backup, ...commands: readonly string[]): Promise<void> {
    const { source } = backup
    for (const command of commands.slice(0, -1)) await source.query(command)
    await source.query(
      `BEGIN; ${commands.at(-1)}; INSERT INTO tick VALUES (1, pg_current_xact_id()::text); COMMIT; CREATE TABLE behind ()`,
    )
    await backup.durable()
    const { rows } = await source.query<{ xid: string }>('SELECT xid FROM tick')
    await source.query('DROP TABLE behind')
    const restored = await backup.restore(`xid:${rows[0]!.xid}`)
    expect(restored.result!.unmade).toEqual([])
    await expectSameSchema(backup.sourceUrl, restored.url)
  }

  const PARENT = [
    'ALTER TABLE msg ADD CHECK (id < 1000)',
    'ALTER TABLE msg RENAME COLUMN id TO "the (""id"")"',
  ]

  test.each(PARENT)(
    'given before the last reading, kept behind it: %s',
    { timeout: 120_000 },
    async (command) => {
      await using backup = await Backup.start({ version, setup: SETUP })
      await backup.source.query('GRANT SELECT, UPDATE (id) ON msg_1 TO PUBLIC')
      // It tells the table whole, and its rights with it.
      await backup.source.query(`COMMENT ON TABLE msg_1 IS 'said'`)
      await backup.durable()
      await behindParent(backup, command)
    },
  )

  test('given of a column without a record, and called otherwise by its parent then', {
    timeout: 120_000,
  }, async () => {
    await using backup = await Backup.start({ version, setup: SETUP })
    await unseen(backup.source, ['GRANT UPDATE (id), DELETE ON msg_1 TO PUBLIC'])
    await backup.source.query('CREATE TABLE read_again ()')
    await backup.until(() =>
      backup.repository.catalog.generation!.schemas.some(({ body }) => body.untold !== undefined),
    )
    await behindParent(backup, PARENT[1]!, 'ALTER TABLE msg ADD n int')
  })

  test('given of a column behind the last reading, and called otherwise by its parent then', {
    timeout: 120_000,
  }, async () => {
    await using backup = await Backup.start({ version, setup: SETUP })
    await behindParent(backup, 'GRANT UPDATE (id), DELETE ON msg_1 TO PUBLIC', PARENT[1]!)
  })
})
