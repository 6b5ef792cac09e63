/** What would go over a network, or into a process list, in the clear. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { randomUUID } from 'node:crypto'
import { expect, onTestFinished, test } from 'vitest'
import { newKeys, openKeys } from '../../services/adapters/keys/key-folder.ts'
import { addServiceRecipient } from '../../services/adapters/keys/recipient-files.ts'
import { systemRandomness } from '../../services/core/clock.ts'
import { clearDatabase } from '../../services/app/wiring/clear-database.ts'
import { clearLog, namedPasswords } from '../../services/core/exposure.ts'

test.each([
  ['postgresql://u@db.example/x', undefined, 'SOURCE_CLEAR'],
  ['postgresql:///x?host=db.example', undefined, 'SOURCE_CLEAR'],
  ['postgresql://u@10.0.0.5:5433/x', undefined, 'SOURCE_CLEAR'],
  ['postgresql://u@db.example/x?sslmode=verify-full', undefined, undefined],
  ['postgresql://u@db.example/x?sslmode=disable', undefined, undefined],
  ['postgresql://u@db.example/x', 'verify-full', undefined],
  ['postgresql://u@localhost/x', undefined, undefined],
  ['postgresql://u@127.0.0.1:5433/x', undefined, undefined],
  ['postgresql://u@[::1]/x', undefined, undefined],
  ['postgresql:///x?host=/var/run/postgresql', undefined, undefined],
])('%s with PGSSLMODE %s: %s', (url, mode, code) => {
  expect(clearDatabase(url, 'source', mode)?.code).toBe(code)
})

test('passwords among the arguments are told of, and not repeated', () => {
  const found = namedPasswords(['init', '--source', 'postgresql://u:geheim@h/x', '--yes'])
  expect(found?.code).toBe('PASSWORD_IN_ARGUMENTS')
  expect(JSON.stringify(found)).not.toContain('geheim')
  for (const arg of ['postgresql://u@h/x', 's3://bucket/a?endpoint=http://h:9000', 'file:///a:b@c'])
    expect(namedPasswords(['restore', arg])).toBeUndefined()
})

async function keysFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'tidemark-keys-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  const keys = await newKeys(folder, 'rsa', systemRandomness)
  const genesis = '0'.repeat(64)
  await keys.write({ stream: randomUUID(), genesis, signers: keys.publicSigners })
  return folder
}

test("the keeper's signing key lies under the pass phrase, like what opens the backup", async () => {
  const bare = await keysFolder()
  const phrase = join(bare, 'phrase')
  await writeFile(phrase, 'correct horse')
  process.env['TIDEMARK_KEY_PASSPHRASE_FILE'] = phrase
  onTestFinished(() => void delete process.env['TIDEMARK_KEY_PASSPHRASE_FILE'])
  const guarded = await keysFolder()
  const pem = (side: string): Promise<string> => readFile(join(guarded, side, 'signer.pem'), 'utf8')
  expect(await pem('restore')).toContain('ENCRYPTED PRIVATE KEY')
  expect(await pem('writer')).not.toContain('ENCRYPTED')
  expect((await openKeys(guarded, 'restore')).findings).toEqual([])
  expect((await openKeys(bare, 'restore')).findings).toMatchObject([{ code: 'KEEPER_KEY_BARE' }])
  delete process.env['TIDEMARK_KEY_PASSPHRASE_FILE']
  await expect(openKeys(guarded, 'restore')).rejects.toMatchObject({ code: 'KEY_FILE_INVALID' })
})

test('a Vault on another machine is not spoken to in the clear: a new one is refused, an old one is told of', async () => {
  const folder = await keysFolder()
  const vault = { address: 'http://vault.example:8200', key: 'tidemark' }
  await expect(addServiceRecipient(folder, { vault }, 'vault')).rejects.toMatchObject({ code: 'KEY_EXPOSED' })
  await writeFile(join(folder, 'writer', 'recipient-v.vault.json'), JSON.stringify({ vault }))
  expect((await openKeys(folder, 'writer')).findings).toMatchObject([{ code: 'KEYS_CLEAR' }])
})

test('logins of the log and its registry in the clear are said, unless they stay on this machine', () => {
  const log = { brokers: ['localhost:9092', 'kafka.example:9092'], hasTls: false, hasLogin: true }
  const codes = (over: Partial<Parameters<typeof clearLog>[0]>): string[] =>
    clearLog({ ...log, registry: { url: 'http://registry.example', password: 'x' }, ...over }).map(
      ({ code }) => code,
    )
  expect(codes({})).toEqual(['KAFKA_CLEAR', 'REGISTRY_CLEAR'])
  expect(codes({ hasTls: true })).toEqual(['REGISTRY_CLEAR'])
  expect(codes({ hasTls: true, registry: { url: 'http://localhost', password: 'x' } })).toEqual([])
  expect(codes({ hasLogin: false, registry: { url: 'http://registry.example' } })).toEqual([])
  expect(codes({ brokers: ['127.0.0.1:9092'], registry: { url: 'http://u:p@registry.example' } })).toEqual([
    'REGISTRY_CLEAR',
  ])
  expect(
    codes({ brokers: ['[::1]:9092'], registry: { url: 'https://registry.example', password: 'x' } }),
  ).toEqual([])
})
