/**
 * /healthz, /readyz, /protected, /metrics. Alive, ready and protected are different answers: an outage of source or store is no
 * reason to restart, nor to keep a pod out of a rollout. Each is answered from what the process knows, so none waits for
 * source or store.
 */
import fastify, { type FastifyInstance } from 'fastify'
import { Counter, Gauge, Registry } from 'prom-client'
import { TidemarkError } from '../core/errors.ts'

export interface HealthFacts {
  /** Fails readiness from SIGTERM on. */
  readonly stopping: boolean
  readonly streaming: boolean
  readonly protection: {
    readonly ok: boolean
    readonly reason: string | undefined
    readonly knownUntil: string | undefined
  }
  /** Seconds since the newest durable entry was written; NaN before the first. */
  readonly durableAgeSeconds: number
  /** NaN while the source does not answer; so is the budget. */
  readonly lagBytes: number
  readonly openGaps: number
  readonly damagedObjects: number
  /** Seconds of WAL budget at the current rate; +Infinity without a limit. */
  readonly budgetSeconds: number
  readonly copies: readonly {
    readonly place: string
    readonly isUp: boolean
    readonly behindEntries: number
  }[]
  /** Seconds, NaN for what was never done. */
  readonly ages: {
    readonly anchor: number
    readonly base: number
    readonly scrub: number
    readonly attested: number
  }
  readonly retries: ReadonlyMap<string, number>
  readonly storeErrors: ReadonlyMap<string, number>
}

/** Sets everything that a scrape shows. */
function metrics(registry: Registry): (now: HealthFacts) => void {
  const registers = [registry]
  const gauge = (name: string, help: string): Gauge => new Gauge({ name, help, registers })
  const of = (name: string, help: string): Gauge<'place'> =>
    new Gauge({ name, help, registers, labelNames: ['place'] })
  const counter = (name: string, help: string): Counter<'code'> =>
    new Counter({ name, help, registers, labelNames: ['code'] })
  const isProtected = gauge('tidemark_protected', '1 while what the source commits becomes durable in time')
  const age = gauge('tidemark_durable_age_seconds', 'Age of the newest durable commit or heartbeat')
  const lag = gauge(
    'tidemark_lag_bytes',
    'WAL between the head of the source and what is durable; NaN while the source does not answer',
  )
  const gaps = gauge('tidemark_open_gaps', 'Recorded gaps that are not closed')
  const damaged = gauge(
    'tidemark_damaged_objects',
    'Objects that scrub or verify found damaged or missing in a store, and not right again since',
  )
  const budget = gauge(
    'tidemark_wal_budget_seconds',
    'Time until the slot is lost if nothing were read, at the current rate of writing; +Inf without a limit, NaN while the source does not answer',
  )
  const streaming = gauge('tidemark_streaming', '1 once the base is durable and the stream runs')
  const up = of('tidemark_copy_up', '1 where the last try to fill the copy worked')
  const behind = of('tidemark_copy_behind_entries', 'Ledger entries that the copy lacks')
  const anchor = gauge(
    'tidemark_anchor_age_seconds',
    'Since the head of the ledger stood in every anchor; NaN without anchors, and until it does',
  )
  const base = gauge('tidemark_base_age_seconds', 'Age of the newest base')
  const scrub = gauge('tidemark_scrub_age_seconds', 'Since a share of the stores was looked at')
  const attested = gauge(
    'tidemark_attested_age_seconds',
    'Since the source was digested and compared (verify --against-source)',
  )
  const retries = counter('tidemark_retries_total', 'What was tried again, by the code of the error')
  const storeErrors = counter(
    'tidemark_store_errors_total',
    'Failures of the store and of copies, by the code of the error',
  )
  return (now) => {
    isProtected.set(now.protection.ok ? 1 : 0)
    age.set(now.durableAgeSeconds)
    lag.set(now.lagBytes)
    gaps.set(now.openGaps)
    damaged.set(now.damagedObjects)
    budget.set(now.budgetSeconds)
    streaming.set(now.streaming ? 1 : 0)
    for (const { place, isUp, behindEntries } of now.copies) {
      up.set({ place }, isUp ? 1 : 0)
      behind.set({ place }, behindEntries)
    }
    anchor.set(now.ages.anchor)
    base.set(now.ages.base)
    scrub.set(now.ages.scrub)
    attested.set(now.ages.attested)
    for (const [counted, counts] of [
      [retries, now.retries],
      [storeErrors, now.storeErrors],
    ] as const) {
      counted.reset()
      for (const [code, count] of counts) counted.inc({ code }, count)
    }
  }
}

export function healthServer(facts: () => HealthFacts): FastifyInstance {
  const app = fastify({ logger: false, forceCloseConnections: true })
  const registry = new Registry()
  const set = metrics(registry)
  app.get('/healthz', () => ({ ok: true }))
  app.get('/readyz', (_, reply) => {
    const now = facts()
    return reply.code(now.stopping ? 503 : 200).send({ ok: !now.stopping, streaming: now.streaming })
  })
  app.get('/protected', (_, reply) => {
    const { ok, reason, knownUntil } = facts().protection
    return reply.code(ok ? 200 : 503).send({ ok, knownUntil, reason })
  })
  app.get('/metrics', async (_, reply) => {
    set(facts())
    // The client writes Nan; the exposition format says NaN.
    return reply.type(registry.contentType).send((await registry.metrics()).replaceAll(/ Nan$/gm, ' NaN'))
  })
  return app
}

/**
 * Returns the address it listens on.
 * @throws PORT_TAKEN where another process listens there; CONFIG_INVALID where this machine cannot listen there at all.
 */
export async function listen(server: FastifyInstance, host: string, port: number): Promise<string> {
  try {
    return await server.listen({ host, port })
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    const place = `${host}:${port}`
    if (code === 'EADDRINUSE')
      throw new TidemarkError('PORT_TAKEN', `another process listens on ${place}`, { cause: error })
    if (code === 'EACCES' || code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND' || code === 'EAI_AGAIN')
      throw new TidemarkError('CONFIG_INVALID', `this machine may not listen on ${place} (${code})`, {
        cause: error,
        next: 'correct http in tidemark.yaml, then the same command',
      })
    throw error
  }
}
