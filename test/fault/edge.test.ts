/**
 * An edge site: a small local store behind a bad line to the centre. The line is gone for as long as the disk lasts and longer, then bad;
 * nothing is lost, the disk stays within its bounds, and the centre proves from its own copy, without a key that opens anything, that
 * what arrived is complete, in order, and what was sent.
 */
import { TESTER } from '../support/actor.ts'
import { execFileSync } from 'node:child_process'
import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { parse, stringify } from 'yaml'
import type { CopyPlace } from '../../services/app/config/config.ts'
import { openBackup, openStore } from '../../services/app/wiring/open-backup.ts'
import { prune } from '../../services/app/operations/prune.ts'
import { takeBase } from '../../services/app/operations/take-base.ts'
import { verifyStore } from '../../services/app/operations/verify.ts'
import { systemClock } from '../../services/core/clock.ts'
import { comparePositions } from '../../services/core/position.ts'
import { random } from '../../services/demo/chat-traffic.ts'
import { endOf } from '../../services/repository/lineages.ts'
import { Backup, digests, shown } from '../support/backup.ts'
import { HttpProxy } from '../support/http-proxy.ts'
import { NO_S3, type S3Bench, startS3 } from '../support/store-bench.ts'

const SEED = Number(process.env['TIDEMARK_SEED'] ?? Math.floor(Math.random() * 2 ** 31))
const signal = new AbortController().signal

describe.skipIf(NO_S3 !== undefined)('an edge site', () => {
  let s3: S3Bench
  let line: HttpProxy

  beforeAll(async () => {
    s3 = await startS3()
    line = await HttpProxy.open(s3.certificate)
    line.to(s3.minio.port)
  }, 590_000)
  afterAll(async () => {
    await line[Symbol.asyncDispose]()
    await s3[Symbol.asyncDispose]()
  })

  test(`the line is gone, the disk fills, the line is bad, and everything arrives (seed ${SEED})`, {
    timeout: 500_000,
  }, async (context) => {
    const mount = join('/tmp', `tidemark-edge-${process.pid}`)
    await mkdir(mount, { recursive: true })
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=6m', 'tmpfs', mount], { stdio: 'ignore' })
    } catch {
      await rm(mount, { recursive: true })
      context.skip('a small disk cannot be mounted here (needs root)')
    }
    const next = random(SEED)
    const { url } = await s3.bucket({ through: line.port })
    const far = await openStore(url)
    const centre: CopyPlace = { url, role: 'remote', mode: 'mirrored', bandwidth: 4 * 1024 * 1024 }
    try {
      await using backup = await Backup.prepare({
        setup: 'CREATE TABLE m (id bigint PRIMARY KEY, body text)',
        storeUrl: join(mount, 'store'),
      })
      await backup.init()
      const settings = parse(await readFile(backup.configPath, 'utf8')) as Record<string, unknown>
      await writeFile(
        backup.configPath,
        stringify({ ...settings, copies: [{ url, mode: 'mirrored', bandwidth: '4MiB' }] }),
      )
      await backup.up()
      const write = (id: number, rows: number): Promise<unknown> =>
        backup.source.query(
          `INSERT INTO m SELECT g, (SELECT string_agg(md5((g * 100 + k)::text), '') FROM generate_series(1, 20) k) FROM generate_series(${id * 10000}, ${id * 10000 + rows - 1}) g`,
        )
      // The first of the data goes with the first base; what comes behind the second one is what the disk has to bear.
      for (let id = 1; id < 4; id++) await write(id, 1200)
      await backup.durable()
      await takeBase(backup.config, signal, () => undefined)
      line.fate = () => ({ kind: 'answer', status: 503 })
      // One at a time: what waits on the source must find room once the first of the data has gone.
      const isFull = (): boolean =>
        backup.events.some((event) => event.event === 'retry' && event.code === 'STORE_FULL')
      for (let id = 10; id < 60 && !isFull(); id++) {
        await write(id, 500)
        const head = await backup.head()
        await backup.until(
          () => isFull() || comparePositions(backup.repository.catalog.generation!.end, head) >= 0,
        )
      }
      expect(isFull()).toBe(true)
      // Nothing may go while the centre lacks it.
      const place = { storeUrl: backup.storeUrl, copies: [centre], keys: backup.keys }
      const keep = {
        actor: TESTER,
        place,
        policy: { keepMs: 1e12, bases: 1, graceMs: 3_600_000 },
        storeKeepMs: [0, undefined],
        confirmed: true,
        unnamed: false,
        clock: systemClock,
        signal,
      }
      await expect(prune(keep)).rejects.toMatchObject({ code: expect.stringMatching(/STORE_/) as string })
      // A bad line: answers get lost, bodies are cut, the other end is away now and then.
      line.fate = () => {
        const draw = next()
        return draw < 0.1
          ? { kind: 'lose' }
          : draw < 0.2
            ? { kind: 'cut' }
            : draw < 0.3
              ? { kind: 'answer', status: 503 }
              : { kind: 'pass' }
      }
      const head = backup.repository.ledger.headNumber
      await backup.until(
        async () => (await endOf(far, head).catch(() => ({ number: 0n }))).number >= head,
        120_000,
      )
      line.fate = () => ({ kind: 'pass' })
      const report = await prune(keep)
      expect(report.trims[0]!.from).not.toBeNull()
      expect(report.cleared[0]!.bytes).toBeGreaterThan(100_000)
      // The disk has room again, and what waited on the source becomes durable; nobody was asked.
      await backup.durable(90_000)
      await backup.stop()
      const expected = shown(await digests(backup.sourceUrl))
      await backup.up()
      await backup.until(
        async () => (await endOf(far, 0n)).number >= backup.repository.ledger.headNumber,
        60_000,
      )
      await backup.stop()
      // The centre by itself, with public keys alone.
      const keys = join(backup.folder, 'centre-keys')
      await mkdir(keys)
      await cp(join(backup.keys, 'writer', 'trust.json'), join(keys, 'trust.json'))
      for (const file of (await import('node:fs')).readdirSync(join(backup.keys, 'writer')))
        if (file.endsWith('.pub.pem')) await cp(join(backup.keys, 'writer', file), join(keys, file))
      const proven = async (): Promise<string[]> => {
        const { repository } = await openBackup({ storeUrl: url, keys, role: 'writer' })
        return (await verifyStore(repository, false, () => undefined, signal)).damaged.map(
          (one) => one.object,
        )
      }
      expect(await proven()).toEqual([])
      expect(shown(await digests((await backup.restore('latest', { storeUrl: url })).url))).toEqual(expected)
      // Replaced, lost or swapped on the way: told by name.
      const store = await openStore(url)
      const exchange = async (
        name: string,
        bytes: Buffer | undefined,
        check: () => Promise<void>,
      ): Promise<void> => {
        const right = await store.get(name)
        await store.remove(name)
        if (bytes !== undefined) await store.putIfAbsent(name, [bytes])
        await check()
        await store.remove(name)
        await store.putIfAbsent(name, [right])
      }
      const segments: string[] = []
      for await (const name of store.list('segments/')) segments.push(name)
      await exchange(segments[3]!, await store.get(segments[4]!), async () =>
        expect(await proven()).toEqual([segments[3]]),
      )
      await exchange(segments[3]!, undefined, async () => expect(await proven()).toEqual([segments[3]]))
      const entry = (number: bigint): string => `ledger/1/${number.toString().padStart(16, '0')}.json`
      await exchange(entry(6n), await store.get(entry(7n)), async () =>
        expect(proven()).rejects.toMatchObject({ code: 'LEDGER_BROKEN' }),
      )
      await exchange(entry(6n), undefined, async () =>
        expect(proven()).rejects.toMatchObject({ code: 'LEDGER_BROKEN' }),
      )
      expect(await proven()).toEqual([])
    } finally {
      line.fate = () => ({ kind: 'pass' })
      execFileSync('umount', ['-l', mount])
      await rm(mount, { recursive: true, force: true })
    }
  })
})
