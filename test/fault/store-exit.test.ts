/** No command takes longer than its work: nothing of a store's client keeps a process alive behind its last line. */
import { spawn } from 'node:child_process'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type GcsBench, NO_GCS, startGcs } from '../support/parts/fake-gcs.ts'
import { type AzureBench, NO_S3, type S3Bench, startAzure, startS3 } from '../support/store-bench.ts'

const CHILD = new URL('../support/examine-child.ts', import.meta.url).pathname
/** Far below the deadline of a request, for which an answer that nobody reads keeps its socket. */
const LINGER_MS = 15_000

let s3: S3Bench | undefined
let azure: AzureBench
let gcs: GcsBench | undefined

beforeAll(async () => {
  if (NO_S3 === undefined) s3 = await startS3()
  azure = await startAzure()
  if (NO_GCS === undefined) gcs = await startGcs(join(tmpdir(), `tidemark-exit-${process.pid}`))
}, 590_000)

afterAll(async () => {
  await s3?.[Symbol.asyncDispose]()
  await azure[Symbol.asyncDispose]()
  await gcs?.[Symbol.asyncDispose]()
})

const STORES: Readonly<Record<string, () => Promise<string>>> = {
  ...(NO_S3 === undefined
    ? {
        s3: async () => (await s3!.bucket()).url,
        's3 with locks': async () => (await s3!.bucket({ objectLock: true })).url,
      }
    : {}),
  ...(NO_GCS === undefined ? { gcs: async () => (await gcs!.bucket()).url } : {}),
  azure: async () => (await azure.container()).url,
}

test.each(Object.keys(STORES))('a process ends with its work: %s', async (kind) => {
  const child = spawn(process.execPath, [CHILD, await STORES[kind]!()], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve))
  let said = ''
  let complaints = ''
  child.stderr.on('data', (chunk: Buffer) => (complaints += chunk.toString()))
  const done = new Promise<number>((resolve) =>
    child.stdout.on('data', (chunk: Buffer) => {
      said += chunk.toString()
      if (said.includes('done')) resolve(performance.now())
    }),
  )
  const doneAt = await Promise.race([done, ended.then(() => NaN)])
  const code = await ended
  expect([said, code, complaints]).toEqual(['done 0\n', 0, ''])
  expect(performance.now() - doneAt).toBeLessThan(LINGER_MS)
})
