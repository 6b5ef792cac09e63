/** Restore to a point: plan, checks of the target, rebuild, audit, report. */
import { createHash } from 'node:crypto'
import type { BegunRestore } from '../../core/ports/target.ts'
import { CODES } from '../../core/error-codes.ts'
import { TidemarkError } from '../../core/errors.ts'
import { positionText } from '../../core/position.ts'
import { formatInstant } from '../../formats/temporal.ts'
import type { IndexedTransaction } from '../../formats/segment-index.ts'
import { type ResolvedPoint, resolvePoint } from '../../history/point.ts'
import { parsePoint } from '../../history/point-text.ts'
import { pointText, transactionText } from '../../repository/restorable.ts'
import { unlessSealedForOthers } from '../../history/sealed-for-others.ts'
import { type CountedTable, countsAt, schemaChangesAt } from '../../history/transaction-text.ts'
import { planRestore, type RestorePlan } from '../../rebuild/plan.ts'
import { refuseDamaged } from '../../rebuild/damaged-plan.ts'
import { uncompared } from '../../rebuild/uncompared.ts'
import { Rebuild, type RebuildEvents, type RebuildReport } from '../../rebuild/rebuild.ts'
import { attestationAt } from '../../rebuild/attest.ts'
import type { Repository } from '../../repository/repository.ts'
import { anchorLines } from './anchor-lines.ts'
import type { Actor } from './actor.ts'
import { audit } from './audit.ts'
import { begunAt, openTarget, targetPlace } from '../wiring/compose.ts'
import { dialectOf } from '../wiring/dialect.ts'
import { type BackupPlace, openBackup } from '../wiring/open-backup.ts'
import { RestoreHold } from './holds.ts'
import { writeUnmade } from './unmade-file.ts'

export interface RestoreOptions extends BackupPlace {
  readonly actor: Actor
  readonly at: string
  readonly into: string | undefined
  readonly exceptTables: readonly string[]
  /** Jobs of scheduling extensions come back as they were, instead of inactive. */
  readonly withJobs?: boolean | undefined
  readonly dryRun: boolean
  /** End at the first object that cannot be made as it was, instead of going on behind it. */
  readonly strict?: boolean | undefined
  /** Roles get their attributes and memberships too. */
  readonly withRoleAttributes?: boolean | undefined
  /** Functions of the source run by the rights of who restores: only where its users may do all that this one may. */
  readonly trustSourceCode?: boolean | undefined
  /** For changes; what exceeds it goes to an encrypted scratch file in TMPDIR. */
  readonly memoryBytes?: number | undefined
  readonly signal: AbortSignal
  readonly events: RebuildEvents
  readonly onPlan?: (plan: PlanReport) => void
}

export interface Neighbour {
  /** As `--at` takes it, `xid:N@GENERATION` where there are several; with `before:` ahead of it, the state without it. */
  readonly point: string
  readonly position: string
  readonly xid: number
  readonly committedAt: string
  readonly tables: readonly CountedTable[]
  /** Commands that changed the schema. */
  readonly schema: readonly string[]
}

export interface PlanReport {
  readonly point: {
    readonly position: string
    readonly at: Neighbour | null
    readonly next: Neighbour | null
  }
  /** The target holds half of it: the point means what it meant when that began. */
  readonly resumes: boolean
  readonly base: { readonly id: string; readonly closing: string }
  readonly tables: readonly {
    readonly schema: string
    readonly name: string
    readonly baseRows: string
    readonly changes: string
  }[]
  readonly segments: number
  readonly changes: string
  readonly bytes: string
  readonly keys: readonly string[]
  readonly excluded: readonly string[]
  readonly notes: readonly string[]
  /** What nobody knows yet of a point that is so new; null where there is nothing of it. */
  readonly uncompared: string | null
}

export interface RestoreReport {
  readonly plan: PlanReport
  readonly result: RebuildReport | null
  /** The script of what could not be made; null where there is nothing. */
  readonly unmadeFile: string | null
  /** `equal`: compared with an attestation of the source at this very position. */
  readonly proof: { readonly compared: boolean; readonly equal: boolean | null; readonly text: string } | null
  /** What comparing the store with its anchors told, for people. */
  readonly anchors: readonly string[]
  /** What went wrong with a store and was helped by another. */
  readonly stores: readonly string[]
  readonly audit: string
}

export async function restore(options: RestoreOptions): Promise<RestoreReport> {
  const opened = await openBackup({ ...options, role: 'restore', upToBreak: true })
  const { repository, troubles } = opened
  const begun = options.into === undefined ? undefined : await begunAt(options.into)
  const point = await pointOf(repository, options.at, begun)
  const plan = await planRestore(
    repository,
    dialectOf(point.generation.facts.engine),
    point,
    options.exceptTables,
  )
  refuseUnknown(repository, plan, options.exceptTables)
  await refuseDamaged(repository, plan)
  const report = { ...(await planReport(repository, plan)), resumes: begun?.asked === options.at }
  options.onPlan?.(report)
  if (options.into === undefined || options.dryRun) {
    if (options.into !== undefined) {
      const target = openTarget(options.into, point.generation)
      try {
        await target.check(restoreId(plan))
      } finally {
        await target.close()
      }
    }
    return {
      plan: report,
      result: null,
      unmadeFile: null,
      proof: null,
      anchors: anchorLines(opened),
      stores: troubles(),
      audit: await audit(
        repository,
        options.actor,
        'restore --dry-run',
        `to ${positionText(point.position)}`,
      ),
    }
  }
  const holdId = begun?.hold ?? repository.randomness.uuid()
  const target = openTarget(options.into, point.generation, {
    statements: plan.schema.statements,
    trustSourceCode: options.trustSourceCode,
    withJobs: options.withJobs,
    begun: {
      asked: options.at,
      position: `${positionText(point.position)}@${point.generation.facts.generation}`,
      stream: repository.catalog.stream,
      hold: holdId,
    },
  })
  try {
    await target.check(restoreId(plan))
    const where = await audit(
      repository,
      options.actor,
      'restore',
      `to ${positionText(point.position)}, ${plan.tables.length} tables`,
    )
    const hold = await RestoreHold.take(repository, point.generation.facts.generation, point.position, holdId)
    const result = await new Rebuild({
      repository,
      target,
      plan,
      clock: repository.clock,
      randomness: repository.randomness,
      memoryBytes: options.memoryBytes,
      strict: options.strict,
      withRoleAttributes: options.withRoleAttributes,
      events: options.events,
    })
      .run(restoreId(plan), options.signal)
      .catch((error: unknown) => Promise.reject(leftUnfinished(error)))
      .finally(() => hold.release())
    const unmadeFile = await writeUnmade(
      result.unmade,
      plan.dialect.schemas,
      restoreId(plan),
      `Not made by the restore to ${result.reached.position} into ${targetPlace(options.into)}`,
    )
    const attested = attestationAt(plan)
    let proof: RestoreReport['proof'] = {
      compared: false,
      equal: null,
      text: 'the source was not attested at this position: no comparison with it is possible',
    }
    if (attested !== undefined) {
      const digests = await target.digest(
        attested.map((t) => ({ schema: t.schema, name: t.name, columns: t.columns })),
      )
      const equal = attested.every((t, i) => digests[i]?.digest === t.digest && digests[i]?.rows === t.rows)
      proof = {
        compared: true,
        equal,
        text: equal
          ? 'equal to the source, as attested at this position'
          : 'NOT equal to the source as attested at this position',
      }
    }
    return {
      plan: report,
      result,
      unmadeFile,
      proof,
      anchors: anchorLines(opened),
      stores: troubles(),
      audit: where,
    }
  } finally {
    await target.close()
  }
}

/**
 * What was asked for before, and was not brought to its end, means what it meant then: `latest` has moved on.
 *
 * @throws TidemarkError TARGET_NOT_EMPTY where the target holds half of what this backup has not
 */
async function pointOf(
  repository: Repository,
  at: string,
  begun: BegunRestore | undefined,
): Promise<ResolvedPoint> {
  const parsed = parsePoint(at)
  if (begun === undefined) return resolvePoint(repository, parsed)
  const next = 'drop and create the database, then the same restore again'
  if (begun.stream !== repository.catalog.stream)
    throw new TidemarkError('TARGET_NOT_EMPTY', 'the target holds the unfinished restore of another backup', {
      next,
    })
  if (begun.asked !== at) return resolvePoint(repository, parsed)
  return resolvePoint(repository, parsePoint(begun.position)).catch((error: unknown) => {
    if (!(error instanceof TidemarkError)) throw error
    const { exitCode } = error
    if (exitCode !== CODES.POINT_UNKNOWN.exit && exitCode !== CODES.GAP.exit) throw error
    throw new TidemarkError(
      'TARGET_NOT_EMPTY',
      `the target holds the unfinished restore to ${begun.position}, which the backup does not have any more: ${error.message}`,
      { next, cause: error },
    )
  })
}

/** What is found damaged while rows are loaded. */
function leftUnfinished(error: unknown): unknown {
  if (!(error instanceof TidemarkError)) return error
  const { code, message } = error
  if (code !== 'OBJECT_CORRUPT' && code !== 'OBJECT_MISSING') return error
  return new TidemarkError(code, message, {
    cause: error,
    means:
      'A stored object is not what the ledger says. It was not used. The target holds a part of the tables, and is marked as unfinished.',
    next: 'tidemark verify, then tidemark windows  (which points need nothing of it), and drop and create the target database for another point; with a copy that has it under copies: in tidemark.yaml, the same restore again goes on',
  })
}

/** @throws TidemarkError USAGE for a table to be left out that the backup has never heard of: it is mistyped */
function refuseUnknown({ catalog }: Repository, plan: RestorePlan, names: readonly string[]): void {
  const known = new Set([
    ...plan.called,
    ...plan.schema.statements.flatMap(({ objects }) =>
      objects.map((object) => `${object.schema ?? ''}.${object.table ?? object.name}`),
    ),
    ...catalog.gaps.flatMap(({ scope }) => (scope.kind === 'table' ? [`${scope.schema}.${scope.name}`] : [])),
    ...plan.point.base.tables.map(({ body }) => `${body.schema}.${body.name}`),
  ])
  const unknown = names.find((name) => !known.has(name))
  if (unknown === undefined) return
  const tables = [
    ...new Set([
      ...plan.tables.map((table) => `${table.schema}.${table.name}`),
      // Those too whose rows are in their partitions.
      ...plan.schema.statements.flatMap((statement) => {
        const [self] = statement.objects
        return self !== undefined && plan.dialect.schemas.makesTable(statement)
          ? [`${self.schema ?? ''}.${self.name}`]
          : []
      }),
    ]),
  ].sort()
  throw new TidemarkError(
    'USAGE',
    `--except-table ${unknown.slice(0, 120)}: there is no such table at this point; there are ${tables.slice(0, 20).join(', ')}${tables.length > 20 ? ', …' : ''}`,
  )
}

/** The same restore again resumes; another one does not. */
function restoreId(plan: RestorePlan): string {
  const facts = [
    plan.point.generation.number.toString(),
    positionText(plan.point.position),
    ...plan.excluded,
  ].join('|')
  return createHash('sha256').update(facts).digest('hex').slice(0, 16)
}

async function neighbour(
  repository: Repository,
  { dialect, point, ddl }: RestorePlan,
  transaction: IndexedTransaction | undefined,
): Promise<Neighbour | null> {
  if (transaction === undefined) return null
  const counts = await unlessSealedForOthers(countsAt(repository, point.generation, transaction.position))
  return {
    point: transactionText(repository.catalog, point.generation, transaction.transactionId),
    position: pointText(repository.catalog, point.generation, transaction.position),
    xid: transaction.transactionId,
    committedAt: formatInstant(transaction.committedAt),
    tables: counts ?? [],
    schema: schemaChangesAt(dialect.records, ddl, transaction.position),
  }
}

async function planReport(repository: Repository, plan: RestorePlan): Promise<Omit<PlanReport, 'resumes'>> {
  return {
    point: {
      position: pointText(repository.catalog, plan.point.generation, plan.point.position),
      at: await neighbour(repository, plan, plan.point.at),
      next: await neighbour(repository, plan, plan.point.next),
    },
    base: {
      id: plan.point.base.id,
      closing: pointText(repository.catalog, plan.point.generation, plan.point.base.closing),
    },
    tables: plan.tables.map((t) => ({
      schema: t.schema,
      name: t.name,
      baseRows: t.base?.body.rows ?? '0',
      changes: String(t.changes),
    })),
    segments: plan.segments.count,
    changes: String(plan.changes),
    bytes: String(plan.bytes),
    keys: plan.keys,
    excluded: plan.excluded,
    notes: plan.schema.notes,
    uncompared: uncompared(repository.catalog, plan.point, plan.excluded) ?? null,
  }
}
