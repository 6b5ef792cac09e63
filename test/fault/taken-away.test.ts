/** Somebody takes out of the source what Tidemark has there: said by code, nothing silent, and the advice leads out. */
import { describe, expect, test } from 'vitest'
import { doctor } from '../../services/app/operations/doctor.ts'
import { upgradeSource } from '../../services/app/operations/upgrade-source.ts'
import { askedSource } from '../../services/app/operations/examine-source.ts'
import { readStatus } from '../../services/app/operations/status.ts'
import { readWindows } from '../../services/app/operations/windows.ts'
import { TidemarkError } from '../../services/core/errors.ts'
import { comparePositions, positionText } from '../../services/core/position.ts'
import { Backup, digests, oneVersion, shown, testedVersions } from '../support/backup.ts'
import { dropSlot, slotFree } from '../support/slot.ts'

const SETUP = `CREATE TABLE a (id int PRIMARY KEY, v text); INSERT INTO a SELECT g, 'x' FROM generate_series(1, 50) g; CREATE TABLE bare (v int); INSERT INTO bare VALUES (1), (1)`

/** Rows and a schema change that the stream cannot have. */
const UNSEEN = `INSERT INTO a VALUES (1000, 'unseen'); UPDATE a SET v = 'unseen' WHERE id = 1; ALTER TABLE a ADD COLUMN w int; CREATE TABLE late (id int PRIMARY KEY)`

async function refusedBy(backup: Backup): Promise<string[]> {
  const { findings } = await doctor(backup.config)
  // A table in it or out of it is no matter where there is no publication.
  expect(findings.map(({ code }) => code)).not.toContain('LEFT_OUT')
  return findings.flatMap(({ level, code }) => (level === 'refuse' ? [code] : []))
}

/** As the errors advise: makes it again, and `up` begins a new generation. Then everything is as the source has it. */
async function leadsOut(backup: Backup, why: RegExp): Promise<void> {
  const { source } = backup
  expect((await upgradeSource({ url: backup.sourceUrl, config: backup.config })).published).toBe(true)
  await backup.up()
  expect(backup.repository.catalog.generation?.facts).toMatchObject({
    generation: 2,
    reason: expect.stringMatching(why) as string,
  })
  await source.query(
    `UPDATE a SET v = 'again' WHERE id < 10; UPDATE bare SET v = v + 1; INSERT INTO late VALUES (1)`,
  )
  await source.query('CREATE TABLE last (v int); INSERT INTO last VALUES (1); UPDATE last SET v = 2')
  await backup.durable()
  expect(await refusedBy(backup)).toEqual([])
  expect(readWindows(backup.repository).gaps).toMatchObject([
    { scope: 'stream', open: false, generation: 1, toGeneration: 2 },
  ])
  const restored = await backup.restore('latest')
  expect(shown(await digests(restored.url))).toEqual(shown(await digests(backup.sourceUrl)))
}

describe.each(testedVersions())('PostgreSQL %s', (version) => {
  test('the publication is dropped while up runs: what came before is durable, and the rest is a gap', async () => {
    await using backup = await Backup.start({ version, setup: SETUP, rollMs: 10_000 })
    const { source } = backup
    await source.query(`INSERT INTO a VALUES (999, 'before')`)
    const before = shown(await digests(backup.sourceUrl))
    await source.query(`DROP PUBLICATION ${backup.slot}`)
    await source.query(UNSEEN)
    await expect(backup.running).rejects.toMatchObject({
      code: 'PUBLICATION_MISSING',
      next: expect.stringMatching(/init --upgrade.*tidemark up/) as string,
    })
    expect(await refusedBy(backup)).toEqual(['PUBLICATION_MISSING'])
    expect(readWindows(backup.repository).gaps).toMatchObject([{ scope: 'stream', open: true }])
    // It is not passed over by starting again.
    await expect(backup.up()).rejects.toMatchObject({ code: 'PUBLICATION_MISSING' })
    await leadsOut(backup, /no publication/)
    const [first] = backup.repository.catalog.generations
    const restored = await backup.restore(`${positionText(first!.end)}@1`)
    expect(shown(await digests(restored.url))).toEqual(before)
  })

  test('the publication is dropped and made again by hand while no up runs: rows between are a gap, by itself', async () => {
    await using backup = await Backup.start({ version, setup: SETUP })
    const { source } = backup
    await backup.durable()
    await backup.stop()
    await source.query(`DROP PUBLICATION ${backup.slot}`)
    await source.query(UNSEEN)
    await source.query(
      `CREATE PUBLICATION ${backup.slot} FOR ALL TABLES; INSERT INTO a VALUES (1001, 'seen')`,
    )
    await backup.up()
    await backup.until(() => backup.repository.catalog.generation?.facts.generation === 2)
    await backup.until(() => backup.repository.catalog.generation?.base !== undefined)
    await backup.durable()
    const restored = await backup.restore('latest')
    expect(shown(await digests(restored.url))).toEqual(shown(await digests(backup.sourceUrl)))
  })
})

test.each(oneVersion())(
  'the schema tidemark is dropped: made again as it was, behind a gap (%s)',
  async (version) => {
    await using backup = await Backup.start({ version, setup: SETUP })
    const { source } = backup
    await backup.durable()
    await source.query(`INSERT INTO a VALUES (999, 'before')`)
    const before = shown(await digests(backup.sourceUrl))
    const point = await backup.head()
    // Up to here everything was seen to be well.
    await source.query('SELECT tidemark.touch()')
    await backup.until(() => comparePositions(backup.repository.catalog.generation!.checked, point) >= 0)
    await source.query('DROP SCHEMA tidemark CASCADE')
    await source.query(UNSEEN)
    await expect(backup.running).rejects.toMatchObject({
      code: expect.stringMatching(/INSTALLATION_MISSING|SOURCE_UNSUITABLE/) as string,
    })
    expect(await refusedBy(backup)).toEqual(['INSTALLATION_MISSING'])
    // The end of the backup lies before the drop, or behind it: then what can be restored is named, and can be.
    const latest = await backup.restore('latest').catch((error: unknown) => error as TidemarkError)
    if (latest instanceof TidemarkError)
      expect(latest).toMatchObject({ code: 'GAP', next: expect.stringMatching(/^--at \S+ /) as string })
    const nearest =
      latest instanceof TidemarkError ? await backup.restore(/--at (\S+)/.exec(latest.next)![1]!) : latest
    expect(shown(await digests(nearest.url))).toEqual(before)
    await expect(backup.up()).rejects.toMatchObject({
      code: 'INSTALLATION_MISSING',
      next: expect.stringContaining('init --upgrade') as string,
    })
    await leadsOut(backup, /schema tidemark/)
  },
)

test.each(oneVersion())(
  'what is left out of the publication while up runs is a gap from the last look on (%s)',
  async (version) => {
    await using backup = await Backup.start({ version, setup: SETUP })
    const { source } = backup
    await source.query(`ALTER PUBLICATION ${backup.slot} SET (publish = 'insert')`)
    await source.query(UNSEEN)
    await expect(backup.running).rejects.toMatchObject({ code: 'PUBLICATION_UNSAFE' })
    expect(await refusedBy(backup)).toEqual(['PUBLICATION_UNSAFE'])
    // Whatever it says now: updates are missing.
    await expect(backup.restore('latest')).rejects.toMatchObject({ code: 'GAP' })
    await source.query(`ALTER PUBLICATION ${backup.slot} SET (publish = 'insert, update, delete, truncate')`)
    await backup.up()
    await backup.durable()
    expect(backup.repository.catalog.generation?.facts.generation).toBe(2)
    const restored = await backup.restore('latest')
    expect(shown(await digests(restored.url))).toEqual(shown(await digests(backup.sourceUrl)))
  },
)

test.each(oneVersion())('the slot is dropped, and doctor says so in red (%s)', async (version) => {
  await using backup = await Backup.start({ version, setup: SETUP })
  await backup.durable()
  await backup.stop()
  await dropSlot(backup)
  expect(await refusedBy(backup)).toEqual(['SLOT_MISSING'])
  expect(await upgradeSource({ url: backup.sourceUrl, config: backup.config })).toMatchObject({
    published: false,
    hasSlot: false,
  })
})

test.each(oneVersion())(
  'the role may not replicate any more: named with the statement that helps (%s)',
  async (version) => {
    const role = `r_${Date.now().toString(36)}`
    await using backup = await Backup.prepare({
      version,
      setup: `${SETUP}; CREATE ROLE ${role} LOGIN`,
      grantTo: role,
    })
    const { source } = backup
    try {
      await backup.init()
      const url = new URL(backup.sourceUrl)
      url.username = role
      await backup.up({ sourceUrl: url.toString() })
      await backup.durable()
      await source.query(`ALTER ROLE ${role} NOREPLICATION`)
      await source.query(
        'SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = $1',
        [backup.slot],
      )
      const next = expect.stringContaining(`ALTER ROLE "${role}" REPLICATION`) as string
      await expect(backup.running).rejects.toMatchObject({ code: 'SOURCE_PRIVILEGE', next })
      const { findings } = await doctor({
        ...backup.config,
        source: { ...backup.config.source, url: url.toString() },
      })
      expect(findings.flatMap(({ level, fix }) => (level === 'refuse' ? [fix] : []))).toEqual([next])
      await source.query(`ALTER ROLE ${role} REPLICATION; INSERT INTO a VALUES (1000, 'behind')`)
      await backup.up({ sourceUrl: url.toString() })
      await backup.durable()
      const restored = await backup.restore('latest')
      expect(shown(await digests(restored.url))).toEqual(shown(await digests(backup.sourceUrl)))
    } finally {
      await backup.crash()
      await source.query(`DROP OWNED BY ${role}; DROP ROLE ${role}`)
    }
  },
)

test.each(oneVersion())(
  'doctor and status say of the source what up would refuse, and nothing beside a job that runs (%s)',
  async (version) => {
    await using backup = await Backup.start({ version, setup: SETUP })
    const { source } = backup
    const said = async (): Promise<(string | undefined)[]> => [
      ...(await refusedBy(backup)),
      (await readStatus(await backup.openRepository(), askedSource(backup.config))).sourceError?.code,
    ]
    for (let round = 0; round < 5; round++) {
      await source.query(`INSERT INTO a VALUES (${100 + round}, 'x')`)
      expect(await said()).toEqual([undefined])
    }
    await backup.durable()
    await backup.stop()
    await source.query(`INSERT INTO a VALUES (200, 'x')`)
    expect(await said()).toEqual([undefined])
    await slotFree(backup)
    await source.query('SELECT pg_replication_slot_advance($1, pg_current_wal_lsn())', [backup.slot])
    expect(await said()).toEqual(['SLOT_AHEAD', 'SLOT_AHEAD'])
    await expect(backup.up()).rejects.toMatchObject({ code: 'SLOT_AHEAD' })
    await dropSlot(backup)
    expect(await said()).toEqual(['SLOT_MISSING', 'SLOT_MISSING'])
  },
)
