/** Damage, wrong keys, wrong places and wrong points: each a clear code, nothing lost, nothing restored short. */
import { TESTER } from '../support/actor.ts'
import { execFileSync } from 'node:child_process'
import { chmod, cp, mkdir, readdir, readFile, rename, rm, stat, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openBackup } from '../../services/app/wiring/open-backup.ts'
import { positionText } from '../../services/core/position.ts'
import { openKeys } from '../../services/adapters/keys/key-folder.ts'
import { faultOf } from '../../services/repository/keyring.ts'
import type { Repository } from '../../services/repository/repository.ts'
import { Backup, digests, shown } from '../support/backup.ts'
import { tidemark } from '../support/cli.ts'

const SETUP =
  'CREATE TABLE m (id bigint PRIMARY KEY, body text); INSERT INTO m SELECT i, md5(i::text) FROM generate_series(1, 500) i'

/** As whoever has the restore keys opens it. */
async function secretOf(repository: Repository, keys: string, key: string): Promise<Buffer> {
  const { object } = repository.catalog.keys.get(key)!.body
  const { provider } = await openKeys(keys, 'restore')
  return provider.open(await repository.ledger.store.get(object.name), {
    stream: repository.catalog.stream,
    kind: 'key',
    object: object.name,
  })
}

describe('one finished backup, damaged in copies', () => {
  let backup: Backup
  let copies = 0
  let expected: string[] = []

  beforeAll(async () => {
    backup = await Backup.start({ setup: SETUP })
    for (let i = 0; i < 4; i++) {
      await backup.source.query(
        `INSERT INTO m SELECT g, md5(g::text) FROM generate_series(${1000 + i * 10}, ${1005 + i * 10}) g`,
      )
      await backup.durable()
    }
    await backup.source.query("INSERT INTO tidemark.marker (name) VALUES ('release-1')")
    await backup.durable()
    expected = shown(await digests(backup.sourceUrl))
    await backup.stop()
  })
  afterAll(async () => backup[Symbol.asyncDispose]())

  async function damaged(change: (store: string) => Promise<void>): Promise<string> {
    const store = join(backup.folder, `copy-${++copies}`)
    await cp(backup.storeUrl, store, { recursive: true })
    await change(store)
    return store
  }
  const run = (args: string[]) => tidemark([...args, '--json'], backup.folder)
  async function files(store: string, folder: string, suffix: string): Promise<string[]> {
    const all = await readdir(join(store, folder), { recursive: true })
    return all
      .filter((name) => name.endsWith(suffix))
      .sort()
      .map((name) => join(store, folder, name))
  }
  async function flip(path: string, at: number): Promise<void> {
    const bytes = await readFile(path)
    bytes[at < 0 ? bytes.length + at : at]! ^= 1
    await chmod(path, 0o640)
    await writeFile(path, bytes)
  }

  const DAMAGE: readonly (readonly [string, string, (store: string) => Promise<void>])[] = [
    [
      'a segment with one bit flipped',
      'OBJECT_CORRUPT',
      async (s) => flip((await files(s, 'segments', '.avro'))[1]!, 300),
    ],
    [
      'a segment short by one byte',
      'OBJECT_CORRUPT',
      async (s) => {
        const path = (await files(s, 'segments', '.avro'))[1]!
        await truncate(path, (await stat(path)).size - 1)
      },
    ],
    [
      'two segments swapped',
      'OBJECT_CORRUPT',
      async (s) => {
        const [a, b] = await files(s, 'segments', '.avro')
        await rename(a!, `${a}.x`)
        await rename(b!, a!)
        await rename(`${a}.x`, b!)
      },
    ],
    ['a missing segment', 'OBJECT_MISSING', async (s) => rm((await files(s, 'segments', '.avro'))[0]!)],
    [
      'a base part with one bit flipped',
      'OBJECT_CORRUPT',
      async (s) => flip((await files(s, 'base', '.avro'))[0]!, -5),
    ],
    [
      'an epoch key with one bit flipped',
      'OBJECT_CORRUPT',
      async (s) => {
        for (const path of await files(s, 'keys', '.key')) await flip(path, -3)
      },
    ],
    ['a ledger entry removed', 'LEDGER_BROKEN', async (s) => rm((await files(s, 'ledger', '.json'))[5]!)],
    [
      'a ledger entry edited',
      'LEDGER_BROKEN',
      async (s) => {
        const path = (await files(s, 'ledger', '.json'))[6]!
        await writeFile(path, (await readFile(path, 'utf8')).replace(/"writtenAt":"2/, '"writtenAt":"3'))
      },
    ],
    [
      'a ledger entry with a repeated key',
      'LEDGER_BROKEN',
      async (s) => {
        const path = (await files(s, 'ledger', '.json'))[6]!
        await writeFile(path, (await readFile(path, 'utf8')).replace('{"body"', '{"body":{},"body"'))
      },
    ],
    [
      'two ledger entries swapped',
      'LEDGER_BROKEN',
      async (s) => {
        const all = await files(s, 'ledger', '.json')
        const [a, b] = [await readFile(all[4]!), await readFile(all[5]!)]
        await writeFile(all[4]!, b)
        await writeFile(all[5]!, a)
      },
    ],
    [
      "another installation's genesis",
      'STORE_FOREIGN',
      async (s) => flip((await files(s, 'ledger', '.json'))[0]!, 40),
    ],
    [
      'an empty store',
      'STORE_NOT_FOUND',
      async (s) => {
        await rm(s, { recursive: true })
        await mkdir(s)
      },
    ],
  ]

  test.each(DAMAGE)('%s is %s: verify names it and a restore refuses', async (_, code, change) => {
    const store = await damaged(change)
    const verify = await run(['verify', '--store', store, '--keys', backup.keys])
    expect(verify.last.error?.code, verify.stdout + verify.stderr).toBe(code)
    expect(verify.code).toBeGreaterThan(3)
    const into = await backup.emptyDatabase()
    const restored = await run([
      'restore',
      '--at',
      'latest',
      '--into',
      into,
      '--store',
      store,
      '--keys',
      backup.keys,
    ])
    expect(restored.last.error?.code).toBe(code)
  })

  test('one bit in every region of a segment and of an index: told by the hash, and by the seal alone', async () => {
    const { repository } = await openBackup({ storeUrl: backup.storeUrl, keys: backup.keys, role: 'restore' })
    const { stream, generation } = repository.catalog
    for await (const { body } of generation!.segments.segments(() => true)) {
      for (const [object, kind] of [
        [body.objects[0]!, 'segment'],
        [body.index, 'index'],
      ] as const) {
        const right = await readFile(join(backup.storeUrl, object.name))
        const context = { kind, generation: '1', lane: '0', object: object.name }
        await repository.keyring.open(object.key, right, context)
        for (let region = 0; region < 32; region++) {
          const bytes = Buffer.from(right)
          bytes[Math.floor((region / 32) * right.length)]! ^= 1 << (region % 8)
          expect(faultOf(object, bytes)?.code, `region ${region}`).toBe('OBJECT_CORRUPT')
          await expect(
            repository.keyring.open(object.key, bytes, context),
            `region ${region}`,
          ).rejects.toMatchObject({ code: expect.stringMatching(/^(OBJECT_CORRUPT|KEY_WRONG)$/) as string })
        }
        // Sealed under the very same key, for another stream, or under another name: not taken.
        for (const other of [
          { ...context, stream: '00000000-0000-4000-8000-000000000000' },
          { ...context, object: `${object.name}x` },
          { ...context, generation: '2' },
        ]) {
          const elsewhere = await repository.keyring.seal(
            { id: object.key, secret: await secretOf(repository, backup.keys, object.key) },
            [Buffer.from('x')],
            other,
          )
          await expect(
            repository.keyring.open(object.key, Buffer.concat(elsewhere), context),
          ).rejects.toMatchObject({
            code: 'OBJECT_CORRUPT',
            message: expect.stringContaining('another place') as string,
          })
        }
      }
      break
    }
    expect(stream).not.toBe('')
  })

  test("wrong keys, missing keys, only the writer's keys", async () => {
    const other = await Backup.prepare({ setup: 'CREATE TABLE x (id int PRIMARY KEY)' })
    await other.init()
    expect((await run(['windows', '--store', backup.storeUrl, '--keys', other.keys])).last.error?.code).toBe(
      'STORE_FOREIGN',
    )
    // The right trust, another private key.
    const mixed = join(backup.folder, 'mixed')
    await cp(join(backup.keys, 'restore'), mixed, { recursive: true })
    const name = (await readdir(mixed)).find((file) => file.startsWith('recipient-'))!
    const foreign = (await readdir(join(other.keys, 'restore'))).find((file) =>
      file.startsWith('recipient-'),
    )!
    await rm(join(mixed, name))
    await cp(join(other.keys, 'restore', foreign), join(mixed, name))
    expect((await run(['verify', '--store', backup.storeUrl, '--keys', mixed])).last.error?.code).toBe(
      'KEY_WRONG',
    )
    expect(
      (await run(['verify', '--store', backup.storeUrl, '--keys', join(backup.folder, 'nowhere')])).last.error
        ?.code,
    ).toBe('KEY_MISSING')
    const writer = join(backup.folder, 'writer-only')
    await cp(join(backup.keys, 'writer'), join(writer, 'writer'), { recursive: true })
    expect((await run(['verify', '--store', backup.storeUrl, '--keys', writer])).last.error?.code).toBe(
      'KEY_MISSING',
    )
    expect((await run(['verify', '--chain', '--store', backup.storeUrl, '--keys', writer])).last.ok).toBe(
      true,
    )
    await other[Symbol.asyncDispose]()
  })

  test('points: without a zone, before the window, after the head, unknown', async () => {
    const said = async (point: string) =>
      (await run(['restore', '--dry-run', '--at', point, '--store', backup.storeUrl, '--keys', backup.keys]))
        .last.error
    const at = async (point: string) => (await said(point))?.code
    expect(await at('2026-01-01T10:00:00')).toBe('POINT_INVALID')
    expect(await at('yesterday')).toBe('POINT_INVALID')
    expect(await at('2001-01-01T10:00:00Z')).toBe('POINT_BEFORE_WINDOW')
    expect(await at('0/1')).toBe('POINT_BEFORE_WINDOW')
    expect(await at('2901-01-01T10:00:00Z')).toBe('POINT_AFTER_HEAD')
    expect(await at('FFFFFFF/0')).toBe('POINT_AFTER_HEAD')
    // The source's own place just now is such a point, too.
    expect((await said('FFFFFFF/0'))?.next).toMatch(/a minute later.*--at latest/)
    expect(await at('xid:1')).toBe('POINT_UNKNOWN')
    expect(await at('marker:none')).toBe('POINT_UNKNOWN')
    expect(await at('marker:release-1')).toBeUndefined()
  })

  test('targets: not empty, the source itself, unreachable; a crashed restore runs again to the same result', async () => {
    const into = async (url: string) =>
      (
        await run([
          'restore',
          '--at',
          'latest',
          '--into',
          url,
          '--store',
          backup.storeUrl,
          '--keys',
          backup.keys,
        ])
      ).last
    expect((await into(backup.sourceUrl)).error?.code).toBe('TARGET_IS_SOURCE')
    const used = await backup.emptyDatabase()
    expect((await into(used)).ok).toBe(true)
    expect((await into(used)).error?.code).toBe('TARGET_NOT_EMPTY')
    expect((await into('postgresql://postgres@127.0.0.1:1/none')).error?.code).toBe('TARGET_UNREACHABLE')
    const url = await backup.emptyDatabase()
    const pg = (await import('pg')).default
    const client = new pg.Client(url)
    await client.connect()
    // As a restore leaves it that was killed after its tables were made and half loaded.
    const stop = new AbortController()
    const { restore } = await import('../../services/app/operations/restore.ts')
    const options = {
      storeUrl: backup.storeUrl,
      keys: backup.keys,
      at: 'latest',
      into: url,
      exceptTables: [],
      dryRun: false,
    }
    await expect(
      restore({
        actor: TESTER,
        ...options,
        signal: stop.signal,
        events: {
          onProgress: (p) => p.stage === 'load' && stop.abort(new DOMException('killed', 'AbortError')),
        },
      }),
    ).rejects.toThrow()
    await client.end()
    const again = await restore({
      actor: TESTER,
      ...options,
      signal: new AbortController().signal,
      events: {},
    })
    expect(again.result?.reached.position).toBeDefined()
    expect(shown(await digests(url))).toEqual(expected)
  })

  test('disaster: source, configuration and host gone, the store read-only', async () => {
    const place = join(backup.folder, 'elsewhere')
    await cp(backup.storeUrl, join(place, 'store'), { recursive: true })
    await cp(join(backup.keys, 'restore'), join(place, 'keys'), { recursive: true })
    execFileSync('chmod', ['-R', 'a-w', join(place, 'store')])
    // root may write anywhere; where the test runs as root the ledger takes the audit entry, else the file does.
    const url = await backup.emptyDatabase()
    const answer = await tidemark(
      [
        'restore',
        '--at',
        'latest',
        '--into',
        url,
        '--store',
        join(place, 'store'),
        '--keys',
        join(place, 'keys'),
        '--json',
      ],
      place,
    )
    expect(answer.last.ok, answer.stdout).toBe(true)
    expect(shown(await digests(url))).toEqual(expected)
    if (process.getuid?.() !== 0)
      expect(await readFile(join(place, 'tidemark-audit.log'), 'utf8')).toContain('"command":"restore"')
    execFileSync('chmod', ['-R', 'u+w', join(place, 'store')])
  })

  test('nothing of the rows, keys or passwords stands in the clear', async () => {
    const canary = Buffer.from(
      (await backup.source.query<{ body: string }>('SELECT body FROM m WHERE id = 7')).rows[0]!.body,
    )
    for (const name of await readdir(backup.storeUrl, { recursive: true })) {
      const path = join(backup.storeUrl, name)
      if (!(await stat(path)).isFile()) continue
      expect((await readFile(path)).includes(canary), name).toBe(false)
    }
  })

  test('every command that reads leaves an audit entry', async () => {
    await run(['find', '--store', backup.storeUrl, '--keys', backup.keys])
    await run([
      'read',
      '--table',
      'public.m',
      '--from',
      positionText(backup.repository.catalog.generation!.base!.closing),
      '--to',
      'latest',
      '--store',
      backup.storeUrl,
      '--keys',
      backup.keys,
    ])
    const { repository } = await openBackup({ storeUrl: backup.storeUrl, keys: backup.keys, role: 'writer' })
    const commands: string[] = []
    for await (const { body } of repository.ledger.walk())
      if (body?.kind === 'audit') commands.push(body.command)
    for (const command of ['init', 'find', 'read', 'restore']) expect(commands).toContain(command)
  })
})
