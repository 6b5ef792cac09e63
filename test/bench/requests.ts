/** Requests to an S3 store at the default roll age, idle and under a small load: counted by a proxy, told for a day, and priced. */
import { TESTER } from '../support/actor.ts'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import pg from 'pg'
import { openBackup, placeOf } from '../../services/app/wiring/open-backup.ts'
import { readConfig } from '../../services/app/config/config.ts'
import { init } from '../../services/app/operations/init.ts'
import { Up } from '../../services/app/daemon/up.ts'
import { HttpProxy } from '../support/http-proxy.ts'
import { NO_S3, startS3 } from '../support/store-bench.ts'
import type { Figure } from './main.ts'
import type { Workplace } from './workplace.ts'

const SECONDS = Number(process.env['BENCH_REQUEST_SECONDS'] ?? 180)
const DAY_S = 86_400
/** AWS S3 Standard, us-east-1, USD for a thousand (aws.amazon.com/s3/pricing, 2026): PUT and LIST; GET and HEAD. */
const PRICE = { writes: 0.005, reads: 0.0004 } as const

export async function benchRequests(workplace: Workplace): Promise<Figure[]> {
  const { say, admin, server, folder } = workplace.options
  const reach = 'counted, shown, priced'
  if (NO_S3 !== undefined)
    return [{ what: 'requests a day', against: '', measured: `not counted: ${NO_S3}`, reach, reached: false }]
  const s3 = await startS3()
  const proxy = await HttpProxy.open(s3.certificate)
  proxy.to(s3.minio.port)
  try {
    await admin.query('CREATE DATABASE requests')
    const client = new pg.Client(server.url('requests'))
    await client.connect()
    await client.query('CREATE TABLE messages (id bigint PRIMARY KEY, conversation_id bigint, body text)')
    const place = join(folder, 'requests')
    await mkdir(place)
    const { url } = await s3.bucket({ through: proxy.port })
    const configPath = join(place, 'tidemark.yaml')
    await init({
      actor: TESTER,
      sourceUrl: server.url('requests'),
      storeUrl: url,
      keys: join(place, 'keys'),
      configPath,
      name: 'requests',
      recipients: 'rsa',
      consent: () => Promise.resolve(true),
    })
    const config = readConfig(configPath)
    const { repository, copies } = await openBackup({ ...placeOf(config), role: 'writer' })
    const streaming = Promise.withResolvers<void>()
    const up = new Up({
      config: { ...config, scrubDays: 0 },
      repository,
      copies,
      onEvent: (event) => event.event === 'streaming' && streaming.resolve(),
    })
    const running = up.run(new AbortController().signal)
    await streaming.promise
    let counts = { writes: 0, reads: 0 }
    proxy.fate = (method, asked) => {
      if (method === 'PUT' || method === 'POST' || asked.includes('list-type')) counts.writes++
      else counts.reads++
      return { kind: 'pass' }
    }
    const count = async (
      work: () => Promise<unknown>,
    ): Promise<{ readonly writes: number; readonly reads: number }> => {
      counts = { writes: 0, reads: 0 }
      const until = performance.now() + SECONDS * 1000
      for (let tick = 0; performance.now() < until; tick++) {
        await work()
        await new Promise((resolve) =>
          setTimeout(resolve, Math.max(0, until - SECONDS * 1000 + (tick + 1) * 100 - performance.now())),
        )
      }
      return {
        writes: Math.round((counts.writes / SECONDS) * DAY_S),
        reads: Math.round((counts.reads / SECONDS) * DAY_S),
      }
    }
    let id = 0
    const loads = [
      ['idle', () => Promise.resolve()],
      [
        'at 100 rows/s',
        () =>
          client.query(
            `INSERT INTO messages SELECT g, g % 100, 'message ' || g FROM generate_series(${(id += 10) - 9}, ${id}) g`,
          ),
      ],
    ] as const
    const figures: Figure[] = []
    for (const [name, work] of loads) {
      const { writes, reads } = await count(work)
      const dollars = (writes / 1000) * PRICE.writes + (reads / 1000) * PRICE.reads
      say(`requests ${name}: ${writes} writes and ${reads} reads a day`)
      figures.push({
        what: `requests a day to one S3 store, ${name}, roll age 5 s`,
        against: `counted over ${SECONDS} s`,
        measured: `${writes.toLocaleString('en')} PUT and LIST, ${reads.toLocaleString('en')} GET and HEAD: ${dollars.toFixed(2)} USD`,
        reach,
        reached: true,
      })
    }
    up.drain()
    await running
    await client.end()
    return figures
  } finally {
    await proxy[Symbol.asyncDispose]()
    await s3[Symbol.asyncDispose]()
  }
}
