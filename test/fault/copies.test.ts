/** Several stores of one backup: one of them lost, away, damaged, behind or ahead. Folder, S3 server and Azurite, all real. */
import { TESTER } from '../support/actor.ts'
import { readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { parse, stringify } from 'yaml'
import { openBackup, openStore, placeOf } from '../../services/app/wiring/open-backup.ts'
import type { CopyPlace } from '../../services/app/config/config.ts'
import { copyBackup, promote } from '../../services/app/operations/copy-backup.ts'
import { scrubSet } from '../../services/app/operations/scrub-set.ts'
import { verifyStore } from '../../services/app/operations/verify.ts'
import { ledgerName } from '../../services/formats/object-name.ts'
import { endOf } from '../../services/repository/lineages.ts'
import { Backup, digests, shown } from '../support/backup.ts'
import { type AzureBench, NO_S3, type S3Bench, startAzure, startS3 } from '../support/store-bench.ts'

let s3: S3Bench
let azure: AzureBench

const SETUP = `CREATE TABLE m (id bigint PRIMARY KEY, body text); INSERT INTO m SELECT g, repeat(md5(g::text), 10) FROM generate_series(1, 300) g`
const signal = new AbortController().signal

describe.skipIf(NO_S3 !== undefined)('copies', () => {
  beforeAll(async () => {
    ;[s3, azure] = await Promise.all([startS3(), startAzure()])
  }, 590_000)
  afterAll(async () => {
    await s3[Symbol.asyncDispose]()
    await azure[Symbol.asyncDispose]()
  })

  const copy = (url: string, mode: CopyPlace['mode'], role: CopyPlace['role'] = 'remote'): object => ({
    url,
    mode,
    role,
  })

  async function prepare(copies: readonly object[]): Promise<Backup> {
    const backup = await Backup.prepare({ setup: SETUP })
    await backup.init()
    const settings = parse(await readFile(backup.configPath, 'utf8')) as Record<string, unknown>
    await writeFile(backup.configPath, stringify({ ...settings, copies }))
    return backup
  }

  async function write(backup: Backup, from: number): Promise<void> {
    for (let i = 0; i < 5; i++) {
      await backup.source.query(
        `INSERT INTO m SELECT g, repeat(md5(g::text), 10) FROM generate_series(${from + i * 10}, ${from + i * 10 + 8}) g; UPDATE m SET body = body || 'x' WHERE id % 50 = ${i}; DELETE FROM m WHERE id = ${from + i * 10 + 1}`,
      )
      await backup.durable()
    }
  }

  /** Until a copy has every entry that the primary has. */
  async function filled(backup: Backup, url: string): Promise<void> {
    const store = await openStore(url)
    await backup.until(
      async () => (await endOf(store, 0n)).number >= backup.repository.ledger.headNumber,
      60_000,
    )
  }

  async function equalFrom(
    backup: Backup,
    url: string,
    expected: readonly string[],
    copies: readonly CopyPlace[] = [],
  ): Promise<readonly string[]> {
    const restored = await backup.restore('latest', { storeUrl: url, copies })
    expect(shown(await digests(restored.url))).toEqual(expected)
    return restored.stores
  }

  test('three copies: two are lost or damaged, and the third brings everything back', {
    timeout: 240_000,
  }, async () => {
    const [bucket, container] = [await s3.bucket(), await azure.container()]
    await using backup = await prepare([
      copy(bucket.url, 'synchronous'),
      copy(container.url, 'mirrored', 'archive'),
    ])
    await backup.up()
    await write(backup, 1000)
    await filled(backup, container.url)
    await backup.stop()
    // What came with the stop itself: a mirrored copy has it with the next start.
    await copyBackup({
      actor: TESTER,
      from: placeOf(backup.config),
      to: container.url,
      bandwidth: undefined,
      signal,
    })
    const expected = shown(await digests(backup.sourceUrl))
    // Each of the three alone, the other two lost.
    for (const url of [backup.storeUrl, bucket.url, container.url]) await equalFrom(backup, url, expected)
    // All three, and every object is damaged in two of them: the first third is whole here, the next there.
    const stores = await Promise.all([backup.storeUrl, bucket.url, container.url].map(openStore))
    const names: string[] = []
    for await (const name of stores[0]!.list('')) if (!name.startsWith('checkpoints/')) names.push(name)
    expect(names.length).toBeGreaterThan(20)
    for (const [i, name] of names.entries()) {
      for (const [k, store] of stores.entries()) {
        if (k === i % 3 || (name.startsWith('ledger/') && k === 0)) continue
        // The audit of what was done above stands in the primary alone.
        if ((await store.size(name)) === undefined) continue
        const bytes = await store.get(name)
        bytes[bytes.length >> 1]! ^= 1
        await store.remove(name)
        if (i % 2 === 0) await store.putIfAbsent(name, [bytes])
      }
    }
    const copies: CopyPlace[] = [bucket.url, container.url].map((url) => ({
      url,
      role: 'remote',
      mode: 'mirrored',
      bandwidth: undefined,
    }))
    const told = await equalFrom(backup, backup.storeUrl, expected, copies)
    expect(told.join('\n')).toMatch(/put back in/)
    // What the restore needed has been put back where it was read; scrubbing looks at every store.
    const opened = await openBackup({ storeUrl: backup.storeUrl, copies, keys: backup.keys, role: 'writer' })
    // A copy whose newest entries are gone is one that is behind.
    for (const url of [bucket.url, container.url])
      await copyBackup({
        actor: TESTER,
        from: { storeUrl: backup.storeUrl, copies, keys: backup.keys },
        to: url,
        bandwidth: undefined,
        signal,
      })
    const scrubbed = await scrubSet(opened, { part: 0, parts: 1 }, signal)
    expect(scrubbed.faults.length).toBeGreaterThan(10)
    expect(scrubbed.faults.filter((fault) => fault.outcome !== 'mended')).toEqual([])
    expect((await scrubSet(opened, { part: 0, parts: 1 }, signal)).faults).toEqual([])
    for (const url of [backup.storeUrl, bucket.url, container.url]) {
      const alone = await openBackup({ storeUrl: url, keys: backup.keys, role: 'restore' })
      expect((await verifyStore(alone.repository, true, () => undefined, signal)).damaged).toEqual([])
      await equalFrom(backup, url, expected)
    }
  })

  test('a synchronous copy that is away holds up what counts as durable; a mirrored one catches up', {
    timeout: 240_000,
  }, async () => {
    const own = await startS3()
    const ownAzure = await startAzure()
    try {
      const [bucket, container] = [await own.bucket(), await ownAzure.container()]
      await using backup = await prepare([copy(bucket.url, 'synchronous'), copy(container.url, 'mirrored')])
      await backup.up()
      await write(backup, 1000)
      await ownAzure.azurite.stop()
      await write(backup, 2000)
      await backup.until(() => backup.events.some((event) => event.event === 'copy-failed'))
      await ownAzure.azurite.start()
      await filled(backup, container.url)
      await own.minio.kill()
      await backup.source.query(`INSERT INTO m VALUES (5000, 'waits')`)
      await backup.until(() =>
        backup.events.some((event) => event.event === 'retry' && event.message.includes('the copy s3://')),
      )
      // And how long the source can bear it.
      await backup.until(() =>
        backup.events.some((event) => event.event === 'wal-budget' && event.lagBytes > 0),
      )
      const held = (
        await backup.source.query<{ l: string }>(
          'SELECT confirmed_flush_lsn::text AS l FROM pg_replication_slots WHERE slot_name = $1',
          [backup.slot],
        )
      ).rows[0]!.l
      await new Promise((resolve) => setTimeout(resolve, 1500))
      expect(
        (
          await backup.source.query<{ l: string }>(
            'SELECT confirmed_flush_lsn::text AS l FROM pg_replication_slots WHERE slot_name = $1',
            [backup.slot],
          )
        ).rows[0]!.l,
      ).toBe(held)
      await own.minio.start()
      await backup.durable(90_000)
      await backup.stop()
      await equalFrom(backup, bucket.url, shown(await digests(backup.sourceUrl)))
    } finally {
      await own[Symbol.asyncDispose]()
      await ownAzure[Symbol.asyncDispose]()
    }
  })

  test('an entry that is on the primary and not on the synchronous copy, as a crash leaves it, gets there before the next one', async () => {
    const bucket = await s3.bucket()
    await using backup = await prepare([copy(bucket.url, 'synchronous')])
    await backup.up()
    await write(backup, 1000)
    await backup.stop()
    // Others who know nothing of the copy.
    const { repository } = await openBackup({ storeUrl: backup.storeUrl, keys: backup.keys, role: 'writer' })
    for (let i = 0; i < 3; i++) await repository.audit('test', `entry ${i}`, 'nobody')
    await backup.up()
    await write(backup, 2000)
    await backup.stop()
    const alone = await openBackup({ storeUrl: bucket.url, keys: backup.keys, role: 'restore' })
    expect((await verifyStore(alone.repository, true, () => undefined, signal)).damaged).toEqual([])
    await equalFrom(backup, bucket.url, shown(await digests(backup.sourceUrl)))
  })

  test('a primary that lost its newest entries is refused, and gets them back from its copy', async () => {
    const bucket = await s3.bucket()
    await using backup = await prepare([copy(bucket.url, 'synchronous')])
    await backup.up()
    await write(backup, 1000)
    await backup.stop()
    const head = backup.repository.ledger.headNumber
    for (let number = head - 4n; number <= head; number++)
      await rm(join(backup.storeUrl, ledgerName(1, number)))
    await expect(backup.up()).rejects.toMatchObject({ code: 'COPY_AHEAD' })
    // A reader takes the one that reaches furthest, and says so.
    const expected = shown(await digests(backup.sourceUrl))
    const told = await equalFrom(backup, backup.storeUrl, expected, placeOf(backup.config).copies)
    expect(told.join('\n')).toMatch(/ends at ledger entry \d+, s3:.*: it is read instead/)
    await copyBackup({
      actor: TESTER,
      from: { storeUrl: bucket.url, keys: backup.keys },
      to: backup.storeUrl,
      bandwidth: undefined,
      signal,
    })
    await backup.up()
    await write(backup, 2000)
    await backup.stop()
    await equalFrom(backup, backup.storeUrl, shown(await digests(backup.sourceUrl)))
  })

  test('the primary is lost with its disk: a copy is promoted and goes on; what the old one has of its own is set aside', {
    timeout: 240_000,
  }, async () => {
    const container = await azure.container()
    await using backup = await prepare([copy(container.url, 'mirrored')])
    await backup.up()
    await write(backup, 1000)
    await filled(backup, container.url)
    await backup.stop()
    const settings = parse(await readFile(backup.configPath, 'utf8')) as Record<string, unknown>
    await copyBackup({
      actor: TESTER,
      from: placeOf(backup.config),
      to: container.url,
      bandwidth: undefined,
      signal,
    })
    const old = join(backup.folder, 'old')
    await copyBackup({ actor: TESTER, from: placeOf(backup.config), to: old, bandwidth: undefined, signal })
    await rm(join(old, 'role'), { recursive: true })
    await rm(backup.storeUrl, { recursive: true })
    await writeFile(backup.configPath, stringify({ ...settings, store: { url: container.url }, copies: [] }))
    await expect(backup.up()).rejects.toMatchObject({ code: 'STORE_IS_COPY' })
    await promote({ storeUrl: container.url, keys: backup.keys }, TESTER)
    await backup.up()
    await write(backup, 3000)
    await backup.stop()
    await equalFrom(backup, container.url, shown(await digests(backup.sourceUrl)))
    // The old primary comes back with entries of its own.
    const { repository } = await openBackup({ storeUrl: old, keys: backup.keys, role: 'writer' })
    await repository.audit('test', 'the old one goes on', 'nobody')
    const orphan = repository.ledger.headNumber
    // Its own writer, which knows of the copy, is told that it is no longer the primary.
    await writeFile(
      backup.configPath,
      stringify({ ...settings, store: { url: old }, copies: [copy(container.url, 'mirrored')] }),
    )
    await expect(backup.up()).rejects.toMatchObject({ code: 'STORE_SUPERSEDED' })
    // Somebody who restores from both gets what counts.
    await equalFrom(backup, old, shown(await digests(backup.sourceUrl)), [
      { url: container.url, role: 'remote', mode: 'mirrored', bandwidth: undefined },
    ])
    // As a copy that nothing is durable without: what it has of its own is recorded and set aside, and it is filled.
    await writeFile(
      backup.configPath,
      stringify({ ...settings, store: { url: container.url }, copies: [copy(old, 'synchronous')] }),
    )
    await backup.up()
    expect(backup.events).toContainEqual(
      expect.objectContaining({ event: 'orphans', lineage: 1, to: String(orphan) }),
    )
    await write(backup, 4000)
    await backup.stop()
    expect(await readdir(join(old, 'orphans', '1'))).toContain(`${String(orphan).padStart(16, '0')}.entry`)
    const expected = shown(await digests(backup.sourceUrl))
    await equalFrom(backup, old, expected)
    await equalFrom(backup, container.url, expected)
    const entries = []
    for await (const entry of (
      await openBackup({ storeUrl: old, keys: backup.keys, role: 'restore' })
    ).repository.ledger.walk())
      entries.push(entry.body?.kind)
    expect(entries.filter((kind) => kind === 'lineage' || kind === 'orphans')).toEqual(['lineage', 'orphans'])
    // And back again: a second promotion, of the first primary, from a checkpoint of this lineage.
    const again = await openBackup({ storeUrl: container.url, keys: backup.keys, role: 'writer' })
    await again.repository.checkpoint(1)
    await copyBackup({
      actor: TESTER,
      from: { storeUrl: container.url, keys: backup.keys },
      to: old,
      bandwidth: undefined,
      signal,
    })
    expect((await promote({ storeUrl: old, keys: backup.keys }, TESTER)).lineage).toBe(3)
    await writeFile(
      backup.configPath,
      stringify({ ...settings, store: { url: old }, copies: [copy(container.url, 'mirrored')] }),
    )
    await backup.up()
    await write(backup, 5000)
    await filled(backup, container.url)
    await backup.stop()
    await copyBackup({
      actor: TESTER,
      from: placeOf(backup.config),
      to: container.url,
      bandwidth: undefined,
      signal,
    })
    for (const url of [old, container.url]) {
      await equalFrom(backup, url, shown(await digests(backup.sourceUrl)))
      const { repository: whole } = await openBackup({ storeUrl: url, keys: backup.keys, role: 'restore' })
      expect((await verifyStore(whole, true, () => undefined, signal)).damaged).toEqual([])
      expect(whole.ledger.lineages.current).toBe(3)
    }
  })
})
