/** Recipients come and go: everything stays readable for those who hold a key, and for nobody else. */
import { TESTER } from '../support/actor.ts'
import { generateKeyPairSync } from 'node:crypto'
import { cp, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { placeOf } from '../../services/app/wiring/open-backup.ts'
import {
  addRecipientFile,
  listRecipients,
  revokeRecipient,
  rotateRecipient,
} from '../../services/app/operations/keys.ts'
import { positionText } from '../../services/core/position.ts'
import { Backup, digests, shown } from '../support/backup.ts'
import { tidemark } from '../support/cli.ts'

const SETUP = `CREATE TABLE m (id bigint PRIMARY KEY, body text); INSERT INTO m SELECT g, md5(g::text) FROM generate_series(1, 100) g`
const signal = new AbortController().signal

async function round(backup: Backup, id: number): Promise<void> {
  await backup.up()
  await backup.source.query(
    `INSERT INTO m SELECT g, md5(g::text) FROM generate_series(${id * 1000}, ${id * 1000 + 50}) g`,
  )
  await backup.durable()
  await backup.stop()
}

async function equalWith(
  backup: Backup,
  keys: string,
  at = 'latest',
  expected?: readonly string[],
): Promise<void> {
  const restored = await backup.restore(at, { keys })
  expect(shown(await digests(restored.url))).toEqual(expected ?? shown(await digests(backup.sourceUrl)))
}

test('rotated three times: the newest key alone restores the oldest point, an older one what was sealed for it', async () => {
  await using backup = await Backup.prepare({ setup: SETUP })
  await backup.init()
  await round(backup, 1)
  const oldest = await backup.head()
  const asOfOldest = shown(await digests(backup.sourceUrl))
  const lastOfFirst = positionText((await backup.openRepository()).catalog.generation!.to)
  const first = join(backup.folder, 'first')
  await cp(join(backup.keys, 'restore'), first, { recursive: true })
  for (let i = 2; i < 5; i++) {
    const report = await rotateRecipient(placeOf(backup.config), TESTER, signal)
    expect(report.rewrapped).toBeGreaterThanOrEqual(i)
    await round(backup, i)
  }
  // Only the last private key, as somebody has it who was given nothing else.
  const last = join(backup.folder, 'last')
  await cp(join(backup.keys, 'restore'), last, { recursive: true })
  const current = (await listRecipients(placeOf(backup.config))).filter((recipient) => recipient.current)
  expect(current.length).toBe(1)
  // A restore folder still has those that were rotated away: it does not say whom the writer seals for.
  const byRestore = await listRecipients({ ...placeOf(backup.config), keys: last })
  expect(byRestore.filter((recipient) => recipient.current)).toEqual(current)
  expect(byRestore.length).toBe(4)
  const name = current[0]!.recipient.replace('rsa:', '')
  for (const file of await readdir(last))
    if (file.startsWith('recipient-') && file !== `${name}.pem`) await rm(join(last, file))
  expect((await readdir(last)).filter((file) => file.startsWith('recipient-'))).toEqual([`${name}.pem`])
  await equalWith(backup, last)
  await equalWith(
    backup,
    last,
    `${(oldest >> 32n).toString(16)}/${(oldest & 0xffffffffn).toString(16)}`.toUpperCase(),
    asOfOldest,
  )
  // The first key opens nothing of the newest objects.
  await expect(backup.restore('latest', { keys: first })).rejects.toMatchObject({
    code: 'KEY_WRONG',
    message: expect.stringContaining(`${current[0]!.recipient}`) as string,
    next: expect.stringContaining('from before tidemark keys rotate') as string,
  })
  // And all that was sealed for it: who was given it once restores what was written then.
  await equalWith(backup, first, lastOfFirst, asOfOldest)
  const listed = await listRecipients(placeOf(backup.config))
  const made = listed.map((recipient) => recipient.from)
  // Every one opens the first epoch key, by whatever object: since then, and not since it was sealed anew.
  expect(new Set(made).size).toBe(1)
  const rotatedAway = listed.find((recipient) => !recipient.current)!
  expect(Date.parse(rotatedAway.to!)).toBeLessThan(Date.parse(listed.find((one) => one.current)!.to!))
  // The writer's side has public keys alone.
  for (const file of await readdir(join(backup.keys, 'writer')))
    if (file.startsWith('recipient-'))
      expect(await readFile(join(backup.keys, 'writer', file), 'utf8')).toContain('PUBLIC KEY')
})

test('a recipient is added with its public key and revoked: what it can still open is said', async () => {
  await using backup = await Backup.prepare({ setup: SETUP })
  await backup.init()
  await round(backup, 1)
  const pair = generateKeyPairSync('rsa', { modulusLength: 3072 })
  const file = join(backup.folder, 'auditor.pem')
  await writeFile(file, pair.publicKey.export({ type: 'spki', format: 'pem' }))
  const secret = join(backup.folder, 'secret.pem')
  await writeFile(secret, pair.privateKey.export({ type: 'pkcs8', format: 'pem' }))
  await expect(
    addRecipientFile(placeOf(backup.config), TESTER, secret, 'auditor', signal),
  ).rejects.toMatchObject({
    code: 'KEY_FILE_INVALID',
  })
  const weak = join(backup.folder, 'weak.pem')
  await writeFile(
    weak,
    generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey.export({ type: 'spki', format: 'pem' }),
  )
  await expect(addRecipientFile(placeOf(backup.config), TESTER, weak, 'auditor', signal)).rejects.toThrow(
    /3072/,
  )
  const added = await addRecipientFile(placeOf(backup.config), TESTER, file, 'auditor', signal)
  expect(added.recipient).toBe('recipient-auditor')
  expect(added.rewrapped).toBeGreaterThanOrEqual(2)
  await round(backup, 2)
  const theirs = join(backup.folder, 'theirs')
  await mkdir(theirs)
  await cp(join(backup.keys, 'restore', 'trust.json'), join(theirs, 'trust.json'))
  await cp(secret, join(theirs, 'recipient-auditor.pem'))
  await equalWith(backup, theirs)
  const { revoked } = await revokeRecipient(placeOf(backup.config), TESTER, 'recipient-auditor')
  expect(revoked).toMatchObject({ recipient: 'rsa:recipient-auditor', epochKeys: 3, current: false })
  await round(backup, 3)
  await expect(backup.restore('latest', { keys: theirs })).rejects.toMatchObject({ code: 'KEY_WRONG' })
  await equalWith(backup, backup.keys)
  const only = (await listRecipients(placeOf(backup.config))).find((recipient) => recipient.current)!
  await expect(revokeRecipient(placeOf(backup.config), TESTER, only.recipient)).rejects.toThrow(
    /only recipient/,
  )
})

test('private keys under a pass phrase, on the command line', async () => {
  await using backup = await Backup.prepare({ setup: SETUP })
  const phrase = join(backup.folder, 'phrase')
  await writeFile(phrase, 'correct horse\n')
  const env = { TIDEMARK_KEY_PASSPHRASE_FILE: phrase }
  const made = await tidemark(
    [
      'init',
      '--yes',
      '--json',
      '--source',
      backup.sourceUrl,
      '--store',
      backup.storeUrl,
      '--keys',
      backup.keys,
      '--config',
      backup.configPath,
      '--name',
      backup.slot,
    ],
    backup.folder,
    env,
  )
  expect(made.last.ok, made.stdout + made.stderr).toBe(true)
  const [pem] = (await readdir(join(backup.keys, 'restore'))).filter((name) => name.startsWith('recipient-'))
  expect(await readFile(join(backup.keys, 'restore', pem!), 'utf8')).toContain('ENCRYPTED PRIVATE KEY')
  await round(backup, 1)
  const verify = (more: NodeJS.ProcessEnv) =>
    tidemark(['verify', '--json', '--store', backup.storeUrl, '--keys', backup.keys], backup.folder, more)
  expect((await verify(env)).last.ok).toBe(true)
  expect((await verify({})).last.error).toMatchObject({
    code: 'KEY_FILE_INVALID',
    message: expect.stringContaining('needs its pass phrase') as string,
  })
  const wrong = join(backup.folder, 'wrong')
  await writeFile(wrong, 'incorrect')
  const refused = await verify({ TIDEMARK_KEY_PASSPHRASE_FILE: wrong })
  expect(refused.last.error).toMatchObject({
    code: 'KEY_FILE_INVALID',
    message: expect.stringContaining('does not open') as string,
  })
  expect(refused.stdout + refused.stderr).not.toContain('incorrect')
  const listed = await tidemark(['keys', 'list', '--json', '--config', backup.configPath], backup.folder)
  expect(listed.last).toMatchObject({ ok: true, recipients: [{ epochKeys: 2, current: true }] })
})

test('the writer keys are lost: the restore keys make others, which seal for the recipients of now', async () => {
  await using backup = await Backup.prepare({ setup: SETUP })
  await backup.init()
  await round(backup, 1)
  await rotateRecipient(placeOf(backup.config), TESTER, signal)
  await round(backup, 2)
  const current = (await listRecipients(placeOf(backup.config))).find((one) => one.current)!
  await rm(join(backup.keys, 'writer'), { recursive: true })
  const out = join(backup.folder, 'recovered')
  const up = await tidemark(['up', '--json', '--config', backup.configPath], backup.folder)
  expect(up.last.error).toMatchObject({
    code: 'KEY_MISSING',
    next: expect.stringContaining('keys recover-writer') as string,
  })
  const args = ['keys', 'recover-writer', '--json', '--store', backup.storeUrl, '--out', out]
  const run = (...more: string[]) =>
    tidemark([...args, '--keys', join(backup.keys, 'restore'), ...more], backup.folder)
  expect((await run()).last.error).toMatchObject({ code: 'CONSENT_NEEDED' })
  const made = await run('--yes')
  expect(made.last, made.stderr).toMatchObject({
    ok: true,
    recipients: [current.recipient],
    missing: [],
    audit: 'ledger',
  })
  expect((await run('--yes')).last.error).toMatchObject({ code: 'KEY_FILE_INVALID' })
  expect((await readdir(join(out, 'writer'))).sort()).toEqual([
    `${current.recipient.replace('rsa:', '')}.pub.pem`,
    'signer.pem',
    'trust.json',
  ])
  // Rotated with the sides apart, as the restore keys are brought in from elsewhere.
  const sides = ['--writer-keys', join(out, 'writer'), '--restore-keys', join(backup.keys, 'restore')]
  const rotated = await tidemark(
    ['keys', 'rotate', '--json', '--yes', '--config', backup.configPath, ...sides],
    backup.folder,
  )
  // The base, and at least one for each round: a round in which the source was retried has one more.
  expect(current.epochKeys).toBeGreaterThanOrEqual(3)
  expect(rotated.last, rotated.stdout).toMatchObject({ ok: true, rewrapped: current.epochKeys })
  await cp(join(out, 'writer'), join(backup.keys, 'writer'), { recursive: true })
  await round(backup, 3)
  await equalWith(backup, join(backup.keys, 'restore'))
})
