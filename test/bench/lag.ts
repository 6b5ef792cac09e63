/** Commit to durable under a steady load, with the default roll age. */
import type { Figure } from './main.ts'
import pg from 'pg'
import { openBackup } from '../../services/app/wiring/open-backup.ts'
import type { KafkaConfig } from '../../services/app/config/config.ts'
import { Up } from '../../services/app/daemon/up.ts'
import { comparePositions, parsePosition } from '../../services/core/position.ts'
import type { Workplace } from './workplace.ts'

const SECONDS = Number(process.env['BENCH_LAG_SECONDS'] ?? 40)
const ROLL_MS = 5_000

export function benchLag(workplace: Workplace): Promise<Figure[]> {
  return measureLag(workplace, 2_000, 0.5, undefined)
}

/** Over a Kafka, in the same process. */
export function benchKafkaLag(workplace: Workplace, kafka: KafkaConfig): Promise<Figure[]> {
  return measureLag(workplace, 1_000, 1, kafka)
}

async function measureLag(
  workplace: Workplace,
  rowsPerSecond: number,
  allowance: number,
  kafka: KafkaConfig | undefined,
): Promise<Figure[]> {
  const { say } = workplace.options
  const { repository } = await openBackup({
    storeUrl: workplace.storeUrl,
    keys: workplace.keys,
    role: 'writer',
  })
  const writer = new pg.Client(workplace.url)
  await writer.connect()
  /** Commits not yet durable: when each was committed, by the clock that is also read at durability. */
  const waiting: { readonly end: bigint; readonly at: number }[] = []
  const lags: number[] = []
  const stop = new AbortController()
  const up = new Up({
    config: {
      path: '',
      source: { url: workplace.url, names: { slot: 'bench', publication: 'bench' } },
      storeUrl: workplace.storeUrl,
      keys: workplace.keys,
      roll: { ageMs: ROLL_MS, segmentBytes: 32 << 20 },
      http: { host: '', port: 0, compactorPort: 0 },
      logLevel: 'info',
      kafka,
    },
    repository,
    onEvent: (event) => {
      if (event.event !== 'durable') return
      const now = performance.now()
      const end = repository.catalog.generation!.end
      while (waiting.length > 0 && waiting[0]!.end <= end) lags.push(now - waiting.shift()!.at)
    },
  })
  const running = up.run(stop.signal)
  // What waits behind the slot is not what is measured.
  const head = parsePosition(
    (await writer.query<{ l: string }>('SELECT pg_current_wal_lsn()::text AS l')).rows[0]!.l,
  )
  while (comparePositions(repository.catalog.generation!.end, head) < 0) {
    up.source?.wantHeartbeat()
    await new Promise((resolve) => setTimeout(resolve, 200))
  }
  lags.length = 0
  const from = performance.now()
  let id = 50_000_000
  for (let batch = 0; performance.now() - from < SECONDS * 1000; batch++) {
    const due = from + batch * 10
    if (due > performance.now()) await new Promise((resolve) => setTimeout(resolve, due - performance.now()))
    id += rowsPerSecond / 100
    await writer.query(
      `INSERT INTO messages SELECT i, 1, 1, now(), 0, 'lag ' || i, NULL, NULL FROM generate_series(${id - rowsPerSecond / 100 + 1}, ${id}) i`,
    )
    const at = performance.now()
    const lsn = (
      await writer.query<{ l: string }>("SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::text AS l")
    ).rows[0]!.l
    waiting.push({ end: BigInt(lsn), at })
  }
  await new Promise((resolve) => setTimeout(resolve, ROLL_MS + 1000))
  up.drain()
  await running
  await writer.end()
  lags.sort((a, b) => a - b)
  const p99 = (lags[Math.floor(lags.length * 0.99)] ?? Number.NaN) / 1000
  say(
    `lag: ${lags.length} commits, p50 ${((lags[Math.floor(lags.length / 2)] ?? 0) / 1000).toFixed(2)} s, p99 ${p99.toFixed(2)} s`,
  )
  return [
    {
      what: `lag from commit to durable under ${rowsPerSecond.toLocaleString('en')} rows/s${kafka === undefined ? '' : ', over Kafka'}`,
      against: `the roll age, ${ROLL_MS / 1000} s`,
      measured: `p99 ${p99.toFixed(2)} s of ${lags.length} commits`,
      reach: `at most roll age + ${allowance} s`,
      reached: p99 <= ROLL_MS / 1000 + allowance,
    },
  ]
}
