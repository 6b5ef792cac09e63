/** Keys that never leave AWS KMS and Vault: sealed for by a writer that may only encrypt, opened by a restore that may decrypt. */
import { TESTER } from '../support/actor.ts'
import { cp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openKeys } from '../../services/adapters/keys/key-folder.ts'
import type { ServiceKey } from '../../services/adapters/keys/service-key.ts'
import { RecipientKeys } from '../../services/adapters/keys/recipient-keys.ts'
import { openBackup, placeOf } from '../../services/app/wiring/open-backup.ts'
import { addServiceKey, listRecipients, revokeRecipient } from '../../services/app/operations/keys.ts'
import { freePort } from '../../services/demo/embedded-postgres.ts'
import { Backup, digests, shown } from '../support/backup.ts'
import { tidemark } from '../support/cli.ts'
import { type KmsBench, NO_KMS, startKms, TransitServer } from '../support/parts/key-services.ts'

const SETUP = `CREATE TABLE m (id bigint PRIMARY KEY, body text); INSERT INTO m SELECT g, md5(g::text) FROM generate_series(1, 100) g`
const signal = new AbortController().signal
const context = { stream: 's', kind: 'key', object: 'keys/k1' }
const secret = Buffer.from('0123456789abcdef0123456789abcdef')
// What the SDK takes for credentials; the local server asks for none in particular.
Object.assign(process.env, { AWS_ACCESS_KEY_ID: 'test', AWS_SECRET_ACCESS_KEY: 'test' })

let vault: TransitServer
beforeAll(async () => {
  vault = await TransitServer.start()
  vault.rotate('tidemark')
  vault.rotate('other')
  vault.tokens.set('writer', new Set(['encrypt/tidemark']))
  vault.tokens.set('restore', new Set(['encrypt/tidemark', 'decrypt/tidemark']))
})
afterAll(() => vault[Symbol.asyncDispose]())

async function tokenFile(folder: string, token: string): Promise<string> {
  const path = join(folder, `${token}.token`)
  await writeFile(path, `${token}\n`, { mode: 0o600 })
  return path
}

async function round(backup: Backup, id: number): Promise<void> {
  await backup.up()
  await backup.source.query(
    `INSERT INTO m SELECT g, md5(g::text) FROM generate_series(${id * 1000}, ${id * 1000 + 50}) g`,
  )
  await backup.durable()
  await backup.stop()
}

/** A keys folder with one recipient alone, as somebody has it who was given nothing else. */
async function onlyWith(backup: Backup, name: string): Promise<string> {
  const folder = join(backup.folder, `only-${name}`)
  await cp(join(backup.keys, 'restore'), folder, { recursive: true })
  for (const file of await readdir(folder))
    if (file.startsWith('recipient-') && !file.startsWith(`${name}.`)) await rm(join(folder, file))
  return folder
}

async function wholeStory(backup: Backup, key: ServiceKey, kind: string): Promise<string> {
  await backup.init()
  await round(backup, 1)
  const { recipient, rewrapped } = await addServiceKey(placeOf(backup.config), TESTER, key, 'service', signal)
  // The one of init, and the one of the first run; a run that began again made another.
  expect(rewrapped).toBeGreaterThanOrEqual(2)
  await round(backup, 2)
  expect(
    (await listRecipients(placeOf(backup.config))).find((one) => one.recipient === `${kind}:${recipient}`),
  ).toMatchObject({ epochKeys: 3, current: true })
  // The writer's side may not open, whatever its service says.
  const writer = await openKeys(backup.keys, 'writer')
  expect(writer.provider.canOpen).toBe(false)
  expect(writer.writerCanRead).toBe(false)
  const only = await onlyWith(backup, recipient)
  expect(shown(await digests((await backup.restore('latest', { keys: only })).url))).toEqual(
    shown(await digests(backup.sourceUrl)),
  )
  return only
}

test('Vault: a writer that may only encrypt, a restore that decrypts, also after the key was rotated there', {
  timeout: 120_000,
}, async () => {
  await using backup = await Backup.prepare({ setup: SETUP })
  const only = await wholeStory(
    backup,
    {
      vault: {
        address: vault.address,
        key: 'tidemark',
        tokenFile: await tokenFile(backup.folder, 'restore'),
      },
    },
    'vault',
  )
  vault.rotate('tidemark')
  await round(backup, 3)
  expect(shown(await digests((await backup.restore('latest', { keys: only })).url))).toEqual(
    shown(await digests(backup.sourceUrl)),
  )
  // What goes wrong, as people meet it: no right, a sealed service, another key.
  await writeFile(join(backup.folder, 'restore.token'), 'writer\n')
  await expect(backup.restore('latest', { keys: only })).rejects.toMatchObject({
    code: 'KEY_REFUSED',
    message: expect.stringContaining('403') as string,
  })
  vault.isSealed = true
  await expect(backup.restore('latest', { keys: only })).rejects.toMatchObject({
    code: 'KEY_UNREACHABLE',
    message: expect.stringContaining('503') as string,
  })
  vault.isSealed = false
  // One that does not answer is not taken, and nothing of it stays: up would seal nothing more.
  const before = await readdir(join(backup.keys, 'writer'))
  await expect(
    addServiceKey(
      placeOf(backup.config),
      TESTER,
      { vault: { address: `http://127.0.0.1:${await freePort()}`, key: 'x' } },
      'away',
      signal,
    ),
  ).rejects.toMatchObject({
    code: 'KEY_UNREACHABLE',
    message: expect.stringContaining('ECONNREFUSED') as string,
  })
  await expect(
    addServiceKey(
      placeOf(backup.config),
      TESTER,
      { vault: { address: vault.address, key: 'other', tokenFile: join(backup.folder, 'restore.token') } },
      'forbidden',
      signal,
    ),
  ).rejects.toMatchObject({ code: 'KEY_REFUSED' })
  expect(await readdir(join(backup.keys, 'writer'))).toEqual(before)
  await revokeRecipient(placeOf(backup.config), TESTER, 'recipient-service')
  await round(backup, 4)
  await writeFile(join(backup.folder, 'restore.token'), 'restore\n')
  await expect(backup.restore('latest', { keys: only })).rejects.toMatchObject({ code: 'KEY_WRONG' })
})

test('Vault: up waits for a service that is away, and goes on by itself', { timeout: 120_000 }, async () => {
  await using backup = await Backup.prepare({ setup: SETUP })
  await backup.init()
  await addServiceKey(
    placeOf(backup.config),
    TESTER,
    {
      vault: {
        address: vault.address,
        key: 'tidemark',
        tokenFile: await tokenFile(backup.folder, 'restore'),
      },
    },
    'service',
    signal,
  )
  vault.isSealed = true
  try {
    await backup.up({ waitFor: 'retry' })
    expect(backup.events.find((event) => event.event === 'retry')).toMatchObject({ code: 'KEY_UNREACHABLE' })
  } finally {
    vault.isSealed = false
  }
  await backup.until(() => backup.events.some((event) => event.event === 'streaming'))
  await backup.durable()
})

test("a context of another place, a stranger's key, a changed byte: refused", async () => {
  const folder = join(tmpdir(), `tidemark-vault-${process.pid}`)
  await import('node:fs/promises').then(({ mkdir }) => mkdir(folder, { recursive: true }))
  const recipient = {
    kind: 'vault' as const,
    name: 'v',
    address: vault.address,
    mount: 'transit',
    key: 'tidemark',
    tokenFile: await tokenFile(folder, 'restore'),
    mayOpen: true,
  }
  const keys = new RecipientKeys([recipient])
  const sealed = await keys.seal(secret, context)
  expect(sealed.includes(secret)).toBe(false)
  expect((await keys.open(sealed, context)).equals(secret)).toBe(true)
  await expect(keys.open(sealed, { ...context, object: 'keys/k2' })).rejects.toMatchObject({
    code: 'OBJECT_CORRUPT',
  })
  await expect(
    new RecipientKeys([{ ...recipient, mayOpen: false }]).open(sealed, context),
  ).rejects.toMatchObject({ code: 'KEY_MISSING' })
  await expect(new RecipientKeys([{ ...recipient, name: 'w' }]).open(sealed, context)).rejects.toMatchObject({
    code: 'KEY_WRONG',
  })
  const broken = Buffer.from(sealed)
  broken[broken.indexOf('vault:v') + 30]! ^= 1
  await expect(keys.open(broken, context)).rejects.toMatchObject({ code: 'KEY_REFUSED' })
  await rm(folder, { recursive: true })
})

describe.skipIf(NO_KMS !== undefined)('AWS KMS', () => {
  let kms: KmsBench
  beforeAll(async () => {
    kms = await startKms(join(tmpdir(), `tidemark-kms-${process.pid}`))
  }, 300_000)
  afterAll(() => kms[Symbol.asyncDispose]())

  test('sealed for and opened by a key in the service; another key opens nothing', {
    timeout: 120_000,
  }, async () => {
    await using backup = await Backup.prepare({ setup: SETUP })
    await wholeStory(backup, { kms: { key: kms.keys[0]!, endpoint: kms.endpoint } }, 'kms')
    const recipient = {
      kind: 'kms' as const,
      name: 'k',
      arn: kms.keys[0]!,
      endpoint: kms.endpoint,
      mayOpen: true,
    }
    const sealed = await new RecipientKeys([recipient]).seal(secret, context)
    expect((await new RecipientKeys([recipient]).open(sealed, context)).equals(secret)).toBe(true)
    await expect(
      new RecipientKeys([{ ...recipient, arn: kms.keys[1]! }]).open(sealed, context),
    ).rejects.toMatchObject({ code: 'KEY_WRONG' })
    await expect(
      new RecipientKeys([{ ...recipient, arn: kms.keys[0]!.replace(/.$/, '0') }]).seal(secret, context),
    ).rejects.toMatchObject({ code: 'KEY_REFUSED' })
  })

  test('from the command line; without an answer the error says what to do', {
    timeout: 120_000,
  }, async () => {
    await using backup = await Backup.prepare({ setup: SETUP })
    await backup.init()
    await round(backup, 1)
    const added = await tidemark(
      [
        'keys',
        'add-recipient',
        '--name',
        'kms',
        '--kms',
        kms.keys[1]!,
        '--kms-endpoint',
        kms.endpoint,
        '--config',
        backup.configPath,
        '--json',
      ],
      backup.folder,
    )
    expect(added.last).toMatchObject({ ok: true, recipient: 'recipient-kms', rewrapped: 2 })
    const only = await onlyWith(backup, 'recipient-kms')
    expect(
      (await openBackup({ storeUrl: backup.storeUrl, keys: only, role: 'restore' })).keys.provider.recipients,
    ).toEqual(['kms:recipient-kms'])
    await kms.kill()
    const refused = await tidemark(
      ['restore', '--at', 'latest', '--dry-run', '--store', backup.storeUrl, '--keys', only, '--json'],
      backup.folder,
    )
    expect(refused.last).toMatchObject({ ok: false, error: { code: 'KEY_UNREACHABLE' } })
    expect(refused.code).toBe(5)
  })
})
