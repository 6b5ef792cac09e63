/**
 * /healthz, /readyz, /metrics. Alive and ready are different answers: an outage of source or store is no reason to
 * restart. Each is answered from what the process knows, so none waits for source or store.
 */
import fastify, { type FastifyInstance } from 'fastify'
import { Gauge, Registry } from 'prom-client'
import { TidemarkError } from '../core/errors.ts'

export interface HealthFacts {
  /** Fails readiness from SIGTERM on. */
  readonly stopping: boolean
  readonly streaming: boolean
  /** Seconds since the newest durable entry was written; NaN before the first. */
  readonly durableAgeSeconds: number
  /** NaN while the source does not answer; so is the budget. */
  readonly lagBytes: number
  readonly openGaps: number
  /** Seconds of WAL budget at the current rate; +Infinity without a limit. */
  readonly budgetSeconds: number
}

export function healthServer(facts: () => HealthFacts): FastifyInstance {
  const app = fastify({ logger: false, forceCloseConnections: true })
  const registry = new Registry()
  const gauge = (name: string, help: string): Gauge => new Gauge({ name, help, registers: [registry] })
  const age = gauge('tidemark_durable_age_seconds', 'Age of the newest durable commit or heartbeat')
  const lag = gauge(
    'tidemark_lag_bytes',
    'WAL between the head of the source and what is durable; NaN while the source does not answer',
  )
  const gaps = gauge('tidemark_open_gaps', 'Recorded gaps that are not closed')
  const budget = gauge(
    'tidemark_wal_budget_seconds',
    'Time until the slot is lost if nothing were read, at the current rate of writing; +Inf without a limit, NaN while the source does not answer',
  )
  const streaming = gauge('tidemark_streaming', '1 once the base is durable and the stream runs')
  app.get('/healthz', () => ({ ok: true }))
  app.get('/readyz', (_, reply) => {
    const now = facts()
    return reply.code(now.stopping ? 503 : 200).send({ ok: !now.stopping, streaming: now.streaming })
  })
  app.get('/metrics', async (_, reply) => {
    const now = facts()
    age.set(now.durableAgeSeconds)
    lag.set(now.lagBytes)
    gaps.set(now.openGaps)
    budget.set(now.budgetSeconds)
    streaming.set(now.streaming ? 1 : 0)
    return reply.type(registry.contentType).send(await registry.metrics())
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
