/** What an S3 server, the way to it, and its administrators can do to a backup. On a real server with TLS. */
import { execFileSync } from 'node:child_process'
import { mkdir, readFile, rm, statfs, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { parse, stringify } from 'yaml'
import { openBackup, openStore } from '../../services/app/wiring/open-backup.ts'
import { examineStore } from '../../services/app/operations/examine-store.ts'
import { verifyStore } from '../../services/app/operations/verify.ts'
import { random } from '../../services/demo/chat-traffic.ts'
import { MemoryStore } from '../../services/adapters/object-store/memory-store.ts'
import { Backup, digests, shown } from '../support/backup.ts'
import { HttpProxy } from '../support/http-proxy.ts'
import { NO_S3, type S3Bench, startS3 } from '../support/store-bench.ts'

let s3: S3Bench
let proxy: HttpProxy

const SEED = Number(process.env['TIDEMARK_SEED'] ?? Math.floor(Math.random() * 2 ** 31))
const SETUP = `CREATE TABLE m (id bigint PRIMARY KEY, body text); INSERT INTO m SELECT g, repeat(md5(g::text), 10) FROM generate_series(1, 300) g`
const signal = new AbortController().signal

describe.skipIf(NO_S3 !== undefined)('S3', () => {
  beforeAll(async () => {
    s3 = await startS3()
    proxy = await HttpProxy.open(s3.certificate)
    proxy.to(s3.minio.port)
  }, 590_000)
  afterAll(async () => {
    await proxy[Symbol.asyncDispose]()
    await s3[Symbol.asyncDispose]()
  })

  async function prepare(url: string): Promise<Backup> {
    const backup = await Backup.prepare({ setup: SETUP, storeUrl: url })
    await backup.init()
    return backup
  }

  const write = (backup: Backup, id: number): Promise<unknown> =>
    backup.source.query(
      `INSERT INTO m SELECT g, repeat(md5(g::text), 10) FROM generate_series(${id * 1000}, ${id * 1000 + 20}) g; UPDATE m SET body = body || 'x' WHERE id % 50 = ${id % 50}`,
    )

  async function equalToSource(backup: Backup): Promise<void> {
    expect(shown(await digests((await backup.restore('latest')).url))).toEqual(
      shown(await digests(backup.sourceUrl)),
    )
  }

  test(`answers are lost, 503 storms, bodies cut short, a server that is silent (seed ${SEED})`, {
    timeout: 240_000,
  }, async () => {
    const next = random(SEED)
    const { url } = await s3.bucket({ through: proxy.port })
    await using backup = await prepare(url)
    await backup.up()
    proxy.fate = (method) => {
      const draw = next()
      if (method === 'PUT')
        return draw < 0.12
          ? { kind: 'lose' }
          : draw < 0.2
            ? { kind: 'answer', status: 503 }
            : { kind: 'pass' }
      return method === 'GET' && draw < 0.4
        ? { kind: 'cut' }
        : draw < 0.5
          ? { kind: 'answer', status: 500 }
          : { kind: 'pass' }
    }
    try {
      const enough = (): boolean => ['lose', 'answer', 'cut'].every((kind) => (proxy.met.get(kind) ?? 0) >= 3)
      for (let id = 1; id < 400 && !(id > 40 && enough()); id++) {
        await write(backup, id)
        await backup.guard(new Promise((resolve) => setTimeout(resolve, 40)))
      }
      expect(enough(), `met ${[...proxy.met].join('; ')}`).toBe(true)
    } finally {
      proxy.fate = () => ({ kind: 'pass' })
    }
    await backup.durable(90_000)
    await backup.stop()
    await equalToSource(backup)
    const { repository } = await openBackup({ storeUrl: url, keys: backup.keys, role: 'restore' })
    expect((await verifyStore(repository, true, () => undefined, signal)).damaged).toEqual([])
  })

  test('listings that hide the newest names: nothing that decides rests on them', {
    timeout: 240_000,
  }, async () => {
    const { url } = await s3.bucket({ through: proxy.port })
    await using backup = await prepare(url)
    let hidden = 0
    // As a listing that is behind: the three that came last are not in it.
    const newest = (xml: string): string => {
      const contents = [...xml.matchAll(/<Contents>.*?<\/Contents>/gs)]
        .map(([text]) => text)
        .sort((a, b) =>
          (/<LastModified>(.*?)</.exec(b)?.[1] ?? '').localeCompare(
            /<LastModified>(.*?)</.exec(a)?.[1] ?? '',
          ),
        )
      hidden += Math.min(3, contents.length)
      return contents.slice(0, 3).reduce((text, one) => text.replace(one, ''), xml)
    }
    proxy.fate = (method, asked) =>
      method === 'GET' && asked.includes('list-type=2') ? { kind: 'rewrite', body: newest } : { kind: 'pass' }
    try {
      // A checkpoint gives way to whoever appends beside it, so how many there are to be hidden is not ours to say.
      for (let round = 1; round < 4 || (hidden <= 10 && round < 20); round++) {
        await backup.up()
        for (let id = 1; id < 4; id++) {
          await write(backup, round * 10 + id)
          await backup.durable()
          await backup.repository.checkpoint(1)
        }
        await backup.stop()
        await equalToSource(backup)
      }
      expect(hidden).toBeGreaterThan(10)
      const { repository } = await openBackup({ storeUrl: url, keys: backup.keys, role: 'restore' })
      expect((await verifyStore(repository, true, () => undefined, signal)).damaged).toEqual([])
    } finally {
      proxy.fate = () => ({ kind: 'pass' })
    }
  })

  test('a slow store: the stream goes on behind it, and nothing is dropped', {
    timeout: 120_000,
  }, async () => {
    const { url } = await s3.bucket({ through: proxy.port })
    await using backup = await prepare(url)
    await backup.up()
    proxy.fate = (method) => (method === 'PUT' ? { kind: 'slow', ms: 1200 } : { kind: 'slow', ms: 100 })
    try {
      for (let id = 1; id < 20; id++) {
        await write(backup, id)
        await backup.guard(new Promise((resolve) => setTimeout(resolve, 100)))
      }
      await backup.durable()
    } finally {
      proxy.fate = () => ({ kind: 'pass' })
    }
    expect(
      backup.events.filter((event) => event.event === 'durable').some((event) => event.lagMs > 1500),
    ).toBe(true)
    await backup.stop()
    await equalToSource(backup)
  })

  test('a multipart upload that another process left over on the names to come changes nothing', {
    timeout: 120_000,
  }, async () => {
    const { name, url } = await s3.bucket()
    await using backup = await prepare(url)
    const { repository } = await openBackup({ storeUrl: url, keys: backup.keys, role: 'writer' })
    const uploads: { readonly key: string; readonly id: string }[] = []
    for (
      let number = repository.ledger.headNumber + 1n;
      number < repository.ledger.headNumber + 20n;
      number++
    ) {
      const key = `chat/ledger/1/${String(number).padStart(16, '0')}.json`
      const id = await s3.client.initiateNewMultipartUpload(name, key, {})
      uploads.push({ key, id })
    }
    await backup.up()
    for (let id = 1; id < 8; id++) {
      await write(backup, id)
      await backup.durable()
    }
    await backup.stop()
    expect(backup.repository.ledger.headNumber).toBeGreaterThan(repository.ledger.headNumber + 5n)
    await equalToSource(backup)
    for (const { key, id } of uploads) await s3.client.abortMultipartUpload(name, key, id)
    await equalToSource(backup)
  })

  test('a server whose disk is full: nothing is acknowledged, and it goes on by itself', {
    timeout: 180_000,
  }, async (context) => {
    const mount = join('/tmp', `tidemark-s3-full-${process.pid}`)
    await mkdir(mount, { recursive: true })
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=24m', 'tmpfs', mount], { stdio: 'ignore' })
    } catch {
      await rm(mount, { recursive: true })
      context.skip('a small tmpfs cannot be mounted here (needs root)')
    }
    const full = await startS3(mount)
    try {
      const { url } = await full.bucket()
      await using backup = await prepare(url)
      await backup.up()
      // Somebody else's: what is left is soon full.
      const { bavail, bsize } = await statfs(mount)
      await writeFile(join(mount, 'others'), Buffer.alloc(Math.max(0, bavail * bsize - 5 * 1024 * 1024)))
      for (let i = 0; i < 80 && !backup.events.some((event) => event.event === 'retry'); i++) {
        await backup.source.query(
          `INSERT INTO m SELECT g, (SELECT string_agg(md5((g * 100 + k)::text), '') FROM generate_series(1, 40) k) FROM generate_series(${i * 1000 + 100000}, ${i * 1000 + 100499}) g`,
        )
        await backup.guard(new Promise((resolve) => setTimeout(resolve, 300)))
      }
      await backup.until(() =>
        backup.events.some((event) => event.event === 'retry' && event.code === 'STORE_FULL'),
      )
      execFileSync('mount', ['-o', 'remount,size=400m', mount])
      await backup.durable()
      await backup.stop()
      await equalToSource(backup)
    } finally {
      await full[Symbol.asyncDispose]()
      execFileSync('umount', ['-l', mount])
      await rm(mount, { recursive: true, force: true })
    }
  })

  test('credentials that end in mid-run and are renewed; a server that is away', {
    timeout: 120_000,
  }, async () => {
    const { url } = await s3.bucket()
    await using backup = await prepare(url)
    await backup.up()
    await write(backup, 1)
    await backup.durable()
    const good = await readFile(s3.credentialsFile, 'utf8')
    await writeFile(
      s3.credentialsFile,
      good.replace(/secret_access_key = .*/, 'secret_access_key = not-any-more'),
    )
    try {
      await backup.until(async () => {
        await write(backup, 2 + Math.floor(Math.random() * 1e6))
        return backup.events.some((event) => event.event === 'retry' && event.code === 'STORE_REFUSED')
      })
    } finally {
      await writeFile(s3.credentialsFile, good)
    }
    await backup.durable(90_000)
    await s3.minio.kill()
    await write(backup, 9_000_000)
    await backup.until(() =>
      backup.events.some((event) => event.event === 'retry' && event.code === 'STORE_UNREACHABLE'),
    )
    await s3.minio.start()
    await backup.durable(90_000)
    await backup.stop()
    await equalToSource(backup)
    expect(JSON.stringify(backup.events)).not.toContain(s3.password)
  })

  test('a bucket with versions: what was deleted or written over is read all the same', async () => {
    const { name, url } = await s3.bucket({ objectLock: true })
    await using backup = await prepare(url)
    await backup.up()
    for (let id = 1; id < 6; id++) {
      await write(backup, id)
      await backup.durable()
    }
    await backup.stop()
    const keys: string[] = []
    for await (const item of s3.client.listObjectsV2(name, 'chat/', true))
      keys.push((item as { name: string }).name)
    const victims = keys.filter((key) => /(\/ledger\/|\.avro$|\.index$|\.key$)/.test(key)).slice(0, -1)
    expect(victims.length).toBeGreaterThan(10)
    for (const [i, key] of victims.entries()) {
      if (key.endsWith('0000000000000001.json')) continue
      if (i % 2 === 0) await s3.client.removeObject(name, key)
      else await s3.client.putObject(name, key, 'written over')
    }
    // Its newest entries among them.
    await s3.client.removeObjects(name, keys.filter((key) => key.includes('/ledger/')).slice(-3))
    await equalToSource(backup)
    expect(
      (await openBackup({ storeUrl: url, keys: backup.keys, role: 'restore' })).troubles().join(),
    ).toMatch(/the newest \d+ ledger entries had been DELETED/)
    // A writer goes on behind them, not in their place.
    const before = (await openBackup({ storeUrl: url, keys: backup.keys, role: 'writer' })).repository.ledger
      .headNumber
    await backup.up()
    await write(backup, 50)
    await backup.durable()
    expect(backup.repository.ledger.headNumber).toBeGreaterThan(before)
    await backup.stop()
    await equalToSource(backup)
  })

  test('doctor: no bucket, wrong secret, wrong region, untrusted certificate, no conditional put; and what is good', async () => {
    const { url } = await s3.bucket({ objectLock: true })
    const codes = async (of: string): Promise<string[]> =>
      (await examineStore(await openStore(of), 'primary')).map(
        (finding) => `${finding.level} ${finding.code} ${finding.what}`,
      )
    expect(await codes(url)).toEqual([])
    expect((await codes((await s3.bucket()).url))[0]).toMatch(/^warn STORE_UNPROTECTED/)
    expect((await codes(`${(await s3.bucket()).url}&lock=governance&lockFor=30d`))[0]).toMatch(
      /^refuse STORE_NO_LOCK/,
    )
    await expect(
      (await openStore(`${(await s3.bucket()).url}&lock=governance&lockFor=30d`)).putIfAbsent('ledger/0/0', [
        Buffer.from('x'),
      ]),
    ).rejects.toMatchObject({ code: 'STORE_NO_LOCK', retry: 'again' })
    expect((await codes(url.replace(/s3:\/\/[^/]+/, 's3://no-such-bucket')))[0]).toMatch(
      /STORE_REFUSED there is no bucket no-such-bucket/,
    )
    const wrong = join(s3.folder, 'wrong')
    await writeFile(wrong, `[default]\naws_access_key_id = tidemark\naws_secret_access_key = wrong\n`)
    expect(
      (await codes(url.replace(encodeURIComponent(s3.credentialsFile), encodeURIComponent(wrong))))[0],
    ).toMatch(/STORE_REFUSED .*SignatureDoesNotMatch/)
    expect((await codes(url.replace(/&ca=[^&]*/, '')))[0]).toMatch(
      /STORE_REFUSED the certificate of .* is not trusted/,
    )
    expect((await codes(`${url}&region=eu-west-1`))[0]).toMatch(/STORE_REFUSED .*region/)
    await expect(openStore('s3://bucket/x?regoin=a')).rejects.toThrow(/unknown setting regoin/)
    await expect(openStore('s3://key:secret@bucket/x')).rejects.toThrow(/credentials do not belong/)
    const overwriting = new MemoryStore()
    overwriting.putIfAbsent = (name, chunks) => {
      overwriting.objects.set(name, Buffer.concat(chunks))
      return Promise.resolve('created')
    }
    expect(
      (await examineStore(overwriting, 'primary')).map((finding) => `${finding.level} ${finding.code}`),
    ).toEqual(['refuse STORE_UNSAFE'])
  })

  test('a service that lists no versions: what is gone is said to be gone, and what takes room is told', async () => {
    const { url } = await s3.bucket({ through: proxy.port })
    await using backup = await prepare(url)
    let asked = 0
    proxy.fate = (method, query) =>
      method === 'GET' && /[?&]versions/.test(query)
        ? (asked++, { kind: 'answer', status: 501, code: 'NotImplemented' })
        : { kind: 'pass' }
    try {
      await backup.up()
      await write(backup, 1)
      await backup.durable()
      await backup.stop()
      await equalToSource(backup)
      const store = await openStore(url)
      const kept: string[] = []
      for await (const { name, version } of store.kept('segments/')) kept.push(`${name} ${version}`)
      expect(kept.length).toBeGreaterThan(1)
      expect(kept.every((one) => one.endsWith(' undefined'))).toBe(true)
      await store.remove(kept.find((one) => one.includes('.avro'))!.split(' ')[0]!)
      await expect(backup.restore('latest')).rejects.toMatchObject({ code: 'OBJECT_MISSING' })
      expect(asked).toBeGreaterThan(2)
    } finally {
      proxy.fate = () => ({ kind: 'pass' })
    }
  })

  test("another installation's bucket is refused", async () => {
    const [own, other] = [await s3.bucket(), await s3.bucket()]
    await using backup = await prepare(own.url)
    await using stranger = await prepare(other.url)
    await backup.up()
    await backup.stop()
    const settings = parse(await readFile(backup.configPath, 'utf8')) as Record<string, unknown>
    await writeFile(backup.configPath, stringify({ ...settings, store: { url: other.url } }))
    await expect(backup.up()).rejects.toMatchObject({ code: 'STORE_FOREIGN' })
    expect(stranger.keys).not.toBe(backup.keys)
  })
})
