/** Begins a generation: slot first, then its ledger entry, then the first schema facts. */
import type pg from 'pg'
import { createSlot, dropSlot } from '../../engines/postgres/admin/install.ts'
import { requirePublication } from '../../engines/postgres/admin/examine-publication.ts'
import { APPLICATION_NAME } from '../../engines/postgres/session/names.ts'
import { identifySource, refuseOther } from '../../engines/postgres/admin/same-source.ts'
import { connect } from '../../engines/postgres/session/session.ts'
import { requireInstallation } from '../../engines/postgres/admin/upgrade.ts'
import type { ReadSchema } from '../../engines/postgres/catalog/read-schema.ts'
import { readWholeSchema } from '../../engines/postgres/catalog/schema-reader.ts'
import { systemRandomness } from '../../core/clock.ts'
import type { ErrorCode } from '../../core/error-codes.ts'
import type { TidemarkError } from '../../core/errors.ts'
import { type Position, positionText } from '../../core/position.ts'
import { schemaName } from '../../formats/object-name.ts'
import { statementsDigest } from '../../formats/schema-change.ts'
import type { Gap } from '../../repository/generation.ts'
import type { Repository } from '../../repository/repository.ts'
import type { Config } from '../config/config.ts'

export interface GenerationRequest {
  readonly repository: Repository
  readonly url: string
  readonly slot: string
  readonly publication: string
  readonly reason: string
  /** Somebody said that the database behind the URL is the one from now on; else it has to be that of the generation before. */
  readonly isChosen?: boolean
  /** Where the old generation's hole begins; its end where it is not given. */
  readonly from?: Position | undefined
}

/** A slot of this name that no generation names is dropped and made anew: nothing can rest on it. */
export async function beginGeneration(request: GenerationRequest): Promise<number> {
  const { repository, url, slot, publication, reason } = request
  const identity = await identifySource(url)
  const before = repository.catalog.generation
  if (before !== undefined && request.isChosen !== true) refuseOther(identity, before.facts)
  const client = await connect({ url, applicationName: APPLICATION_NAME, role: 'source' })
  try {
    // Before anything is made: a stream without these would have holes that nobody sees.
    await requireInstallation(client)
    await requirePublication(client, publication)
    await dropSlot(client, slot)
    // All tables are read anew: what somebody did to the publication before is past. Not earlier: as long as the slot is there,
    // the generation before may go on, and has to find it.
    await client.query('SELECT tidemark.note_publication()')
    const consistentPoint = await createSlot(url, slot, identity.serverVersion)
    const { nextXid, facts } = await readBehindSlot(client).catch(async (error: unknown) => {
      // No generation names it yet: left behind, it would hold the source's WAL for ever.
      await dropSlot(client, slot).catch(() => undefined)
      throw error
    })
    const generation = (repository.catalog.generation?.facts.generation ?? 0) + 1
    await repository.append({
      kind: 'generation',
      generation,
      systemId: identity.systemId,
      databaseOid: identity.databaseOid,
      database: identity.database,
      encoding: identity.encoding,
      serverVersion: identity.serverVersion,
      timeline: identity.timeline,
      slot,
      publication,
      consistentPoint: positionText(consistentPoint),
      nextXid,
      reason,
    })
    const sealed = await repository.seal(
      schemaName(generation, consistentPoint, repository.nonce()),
      Buffer.from(JSON.stringify(facts), 'utf8'),
      { kind: 'schema', generation: String(generation) },
    )
    await repository.put(sealed)
    await repository.append({
      kind: 'schema',
      generation,
      at: positionText(consistentPoint),
      snapshot: facts.snapshot,
      reading: facts.reading,
      digest: statementsDigest(facts.statements),
      object: sealed.object,
    })
    return generation
  } finally {
    await client.end()
  }
}

async function readBehindSlot(client: pg.Client): Promise<{ nextXid: string; facts: ReadSchema }> {
  const { rows } = await client.query<{ x: string }>(
    'SELECT pg_snapshot_xmax(pg_current_snapshot())::text AS x',
  )
  return { nextXid: rows[0]?.x ?? '0', facts: await readWholeSchema(client) }
}

/** The old generation ends in a hole that stands in the ledger before the new one does. */
export async function replaceGeneration(request: GenerationRequest): Promise<number> {
  const { repository, reason } = request
  const old = repository.catalog.generation
  // Once, however often making the generation behind it is tried.
  if (old !== undefined && openHole(repository) === undefined) {
    await repository.append({
      kind: 'gap',
      generation: old.facts.generation,
      id: systemRandomness.uuid(),
      from: positionText(request.from ?? old.end),
      to: null,
      reason,
      scope: { kind: 'stream' },
    })
  }
  return beginGeneration(request)
}

/** Why the newest generation was to be replaced, where its hole stands in the ledger and nothing behind it does. */
export async function unfinishedReplacement(repository: Repository): Promise<string | undefined> {
  await repository.ledger.refresh()
  return openHole(repository)?.reason
}

function openHole({ catalog: { generation, gaps } }: Repository): Gap | undefined {
  return gaps.find(
    (gap) =>
      gap.scope.kind === 'stream' &&
      gap.generation === generation?.facts.generation &&
      gap.to === undefined &&
      gap.closedAt === undefined,
  )
}

/** What was to be read went past unseen: of these nothing else can be done than to begin anew, once what is missing is there. */
const ENDINGS: ReadonlySet<ErrorCode> = new Set([
  'SLOT_LOST',
  'PUBLICATION_MISSING',
  'PUBLICATION_UNSAFE',
  'INSTALLATION_MISSING',
])

/**
 * Why the generation ends with this error, and where its hole begins; undefined where it goes on. The hole is recorded,
 * never passed over: a new generation begins with its own base.
 */
export async function endingOf(
  error: TidemarkError,
  options: { readonly config: Pick<Config, 'source'>; readonly repository: Repository },
): Promise<{ readonly reason: string; readonly from: Position | undefined } | undefined> {
  if (!ENDINGS.has(error.code) && !(await isFailover(error, options))) return undefined
  // What was lost in these ways went unseen since the last look, and what came since may lack it.
  const sinceLook = error.code === 'PUBLICATION_UNSAFE' || error.code === 'INSTALLATION_MISSING'
  return {
    reason: error.message,
    from: sinceLook ? options.repository.catalog.generation?.checked : undefined,
  }
}

/** A slot that is missing begins no generation by itself, but where this address always means the primary, and there was a promotion. */
async function isFailover(
  error: TidemarkError,
  { config, repository }: { readonly config: Pick<Config, 'source'>; readonly repository: Repository },
): Promise<boolean> {
  const { source } = config
  const { generation } = repository.catalog
  if (error.code !== 'SLOT_MISSING' || source.failover !== 'automatic' || generation === undefined)
    return false
  const now = await identifySource(source.url).catch(() => undefined)
  return now !== undefined && now.timeline > generation.timeline
}
