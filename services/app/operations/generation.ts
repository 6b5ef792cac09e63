/** Begins a generation: slot first, then its ledger entry, then the first schema facts. */
import { streamTrouble } from '../../core/error-codes.ts'
import type { TidemarkError } from '../../core/errors.ts'
import type { SourceOrigin } from '../../core/ports/source.ts'
import { type Position, positionText } from '../../core/position.ts'
import { schemaName } from '../../formats/object-name.ts'
import { statementsDigest } from '../../formats/schema-change.ts'
import type { Gap } from '../../repository/generation.ts'
import type { Repository } from '../../repository/repository.ts'
import type { Config } from '../config/config.ts'
import { openAdmin } from '../wiring/source-admin.ts'

export interface GenerationRequest {
  readonly repository: Repository
  readonly url: string
  /** What is to be made at the source. */
  readonly names: SourceOrigin
  readonly reason: string
  /** Somebody said that the database behind the URL is the one from now on; else it has to be that of the generation before. */
  readonly isChosen?: boolean
  /** Where the old generation's hole begins; its end where it is not given. */
  readonly from?: Position | undefined
}

/** A slot of this name that no generation names is dropped and made anew: nothing can rest on it. */
export async function beginGeneration(request: GenerationRequest): Promise<number> {
  const { repository, url, names, reason } = request
  const before = repository.catalog.generation
  const expected = before === undefined || request.isChosen === true ? undefined : before.facts.origin
  const { identity, consistentPoint, resume, firstTransaction, facts } = await openAdmin({
    url,
    names,
  }).begin(expected)
  const generation = (repository.catalog.generation?.facts.generation ?? 0) + 1
  await repository.append({
    kind: 'generation',
    generation,
    engine: identity.engine,
    origin: { ...identity.origin },
    database: identity.database,
    encoding: identity.encoding,
    serverVersion: identity.serverVersion,
    timeline: identity.timeline,
    consistentPoint: positionText(consistentPoint),
    ...(resume === undefined ? {} : { resume }),
    firstTransaction,
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
      id: repository.randomness.uuid(),
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

/**
 * Why the generation ends with this error, and where its hole begins; undefined where it goes on. The hole is recorded,
 * never passed over: a new generation begins with its own base.
 */
export async function endingOf(
  error: TidemarkError,
  options: { readonly config: Pick<Config, 'source'>; readonly repository: Repository },
): Promise<{ readonly reason: string; readonly from: Position | undefined } | undefined> {
  const trouble = streamTrouble(error.code)
  const isOver = trouble === 'lost' || trouble === 'cut' || trouble === 'unseen'
  if (!isOver && !(await isFailover(error, options))) return undefined
  return {
    reason: error.message,
    from: trouble === 'unseen' ? options.repository.catalog.generation?.checked : undefined,
  }
}

/** That nothing keeps the source's log begins no generation by itself, but where this address always means the primary, and there was a promotion. */
async function isFailover(
  error: TidemarkError,
  { config, repository }: { readonly config: Pick<Config, 'source'>; readonly repository: Repository },
): Promise<boolean> {
  const { source } = config
  const { generation } = repository.catalog
  if (streamTrouble(error.code) !== 'absent' || source.failover !== 'automatic' || generation === undefined)
    return false
  const now = await openAdmin(source)
    .identify()
    .catch(() => undefined)
  return now !== undefined && now.timeline > generation.timeline
}
