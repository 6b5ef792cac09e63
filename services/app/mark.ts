/** `mark`: a row in our marker table, so that it has a place in the stream like any transaction. */
import { APPLICATION_NAME } from '../adapters/postgres/names.ts'
import { connect, connectionError } from '../adapters/postgres/session.ts'
import { systemClock } from '../core/clock.ts'
import { TidemarkError } from '../core/errors.ts'
import { audit } from './audit.ts'
import { openBackup, placeOf } from './compose.ts'
import type { Config } from './config.ts'

const WAIT_MS = 20_000

export interface MarkReport {
  readonly durable: boolean
  readonly position: string | null
  readonly audit: string
}

export async function setMarker(config: Config, name: string, signal: AbortSignal): Promise<MarkReport> {
  if (!/^[A-Za-z0-9._-]{1,100}$/.test(name))
    throw new TidemarkError(
      'USAGE',
      'a marker has letters, digits, dots, dashes and underscores, at most 100',
    )
  const { repository } = await openBackup({ ...placeOf(config), role: 'writer' })
  const client = await connect({ url: config.source.url, applicationName: APPLICATION_NAME, role: 'source' })
  try {
    await client.query('INSERT INTO tidemark.marker (name) VALUES ($1)', [name])
  } catch (error) {
    throw connectionError(error, 'source')
  } finally {
    await client.end()
  }
  const where = await audit(repository, 'mark', name)
  const known = repository.catalog.generation?.markers.length ?? 0
  const deadline = systemClock.elapsed() + WAIT_MS
  while (systemClock.elapsed() < deadline) {
    const found = repository.catalog.generation?.markers
      .slice(known)
      .findLast((marker) => marker.body.name === name)
    if (found !== undefined) return { durable: true, position: found.body.at, audit: where }
    await systemClock.sleep(200, signal)
    await repository.ledger.refresh()
  }
  return { durable: false, position: null, audit: where }
}
