/** A mistake of ours is never taken for an outage, which would be tried again for ever; an outage never for a mistake. */
import { mkdtemp, rm } from 'node:fs/promises'
import { connect as connectSocket, createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { z } from 'zod'
import { kafkaError } from '../../services/adapters/kafka/client/errors.ts'
import { FolderStore } from '../../services/adapters/object-store/folder-store.ts'
import { s3Error } from '../../services/adapters/object-store/s3-errors.ts'
import { connect, connectionError } from '../../services/engines/postgres/session/session.ts'
import { systemRandomness } from '../../services/core/clock.ts'
import { asTidemarkError } from '../../services/core/errors.ts'
import { isMistake, stackOf } from '../../services/core/mistake.ts'

const folder = await mkdtemp(join(tmpdir(), 'tidemark-mistakes-'))
afterAll(() => rm(folder, { recursive: true, force: true }))

function thrown(action: () => unknown): unknown {
  try {
    action()
  } catch (error) {
    return error
  }
  throw new Error('nothing was thrown')
}

async function rejected(action: Promise<unknown>): Promise<unknown> {
  return action.then(
    () => expect.unreachable('it went well'),
    (error: unknown) => error,
  )
}

/** A port that nobody listens on. */
async function closedPort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

const MISTAKES: readonly (readonly [string, () => unknown])[] = [
  ['TypeError', () => (undefined as unknown as { a: string }).a],
  ['ZodError', () => z.object({ columns: z.array(z.string()) }).parse({ columns: null })],
  ['RangeError', () => Buffer.alloc(8).readInt32BE(6)],
  ['ReferenceError', () => new Function('return neverDefined')() as unknown],
  ['an invalid argument', () => Buffer.from(undefined as unknown as string)],
]

const STORE = { place: 's3://bucket', bucket: 'bucket', region: 'eu' }

for (const [name, make] of MISTAKES) {
  test(`${name} is ours, wherever it is met, and keeps its stack`, () => {
    const error = thrown(make)
    for (const known of [
      connectionError(error, 'source'),
      connectionError(error, 'target'),
      kafkaError(error, 'a unit'),
      kafkaError(Object.assign(new Error('wrapped'), { cause: error }), 'a unit'),
      s3Error(error, 'segments/a', STORE),
    ]) {
      expect(known.code).toBe('INTERNAL')
      expect(known.retry).toBe('person')
      expect(stackOf(known)).toContain('mistakes.test.ts')
    }
  })
}

test('what is said of a mistake has its frames and no text of it, which may hold a value', () => {
  const error = thrown(() => JSON.parse('{"secret": hunter2}'))
  expect(stackOf(asTidemarkError(error))).not.toContain('hunter2')
  expect(stackOf(asTidemarkError(error))).toContain('SyntaxError')
})

test('of a refusal of the server its code and routine are said, and no text, detail or statement', () => {
  const refusal = Object.assign(new Error('duplicate key value violates unique constraint "hunter2"'), {
    name: 'error',
    code: '23505',
    routine: '_bt_check_unique',
    detail: 'Key (body)=(hunter2) already exists.',
    table: 'hunter2',
  })
  const said = stackOf(asTidemarkError(new Error('hunter2', { cause: refusal })))
  expect(said).toContain('caused by error 23505 _bt_check_unique')
  expect(said).not.toContain('hunter2')
  expect(stackOf(Object.assign(new Error('x'), { code: 'a value of hunter2' }))).not.toContain('hunter2')
})

test('a bucket without object lock, in the words of two services, is tried again', () => {
  for (const text of [
    'Bucket is missing ObjectLockConfiguration',
    'Bucket is missing Object Lock Configuration',
  ]) {
    const known = s3Error(Object.assign(new Error(text), { code: 'InvalidRequest' }), 'segments/a', STORE)
    expect([known.code, known.retry, known.exitCode]).toEqual(['STORE_NO_LOCK', 'again', 4])
  }
  const other = Object.assign(new Error('The value of a header is wrong'), { code: 'InvalidRequest' })
  expect(s3Error(other, 'segments/a', STORE).code).toBe('STORE_UNREACHABLE')
})

test('a store that is handed nonsense says so once, and does not wait for better times', async () => {
  const store = new FolderStore(folder, systemRandomness)
  const known = asTidemarkError(
    await rejected(store.putIfAbsent('segments/g1/l0/a', [undefined as unknown as Uint8Array])),
  )
  expect(known.code).toBe('INTERNAL')
})

test('outages stay outages', async () => {
  const port = await closedPort()
  const refused = await rejected(fetch(`http://127.0.0.1:${port}/`))
  expect(refused).toBeInstanceOf(TypeError)
  expect(isMistake(refused)).toBe(false)
  expect(s3Error(refused, 'segments/a', STORE).code).toBe('STORE_UNREACHABLE')
  const socket = connectSocket(port, '127.0.0.1')
  const cut = await new Promise((resolve) => socket.once('error', resolve))
  expect(connectionError(cut, 'source').code).toBe('SOURCE_UNREACHABLE')
  const options = {
    url: `postgresql://nobody@127.0.0.1:${port}/none`,
    applicationName: 'test',
    role: 'source',
  } as const
  expect(asTidemarkError(await rejected(connect(options))).code).toBe('SOURCE_UNREACHABLE')
})

test('a server that hangs up is an outage, in the handshake as well', async () => {
  const server = createServer((socket) => socket.destroy())
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const error = await rejected(
    connect({ url: `postgresql://nobody@127.0.0.1:${port}/none`, applicationName: 'test', role: 'source' }),
  )
  expect(asTidemarkError(error).code).toBe('SOURCE_UNREACHABLE')
  server.close()
})

test('a target without room says so, also while it is being connected to', () => {
  const full = Object.assign(new Error('could not write init file'), { code: '53100' })
  expect(connectionError(full, 'target').code).toBe('TARGET_FULL')
  expect(connectionError(full, 'source').code).toBe('SOURCE_UNREACHABLE')
})
