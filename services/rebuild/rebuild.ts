/**
 * Carries out a plan: schema without keys, fold and load every table, then keys, indexes, constraints, sequences. The
 * result reports the position truly reached; it never stops short and says success (invariant 5).
 */
import type { Clock, Randomness } from '../core/clock.ts'
import { TidemarkError } from '../core/errors.ts'
import type { SchemaSteps } from '../core/ports/dialect.ts'
import { positionText } from '../core/position.ts'
import { type Refusal, tableKey, type Target } from '../core/ports/target.ts'
import type { SchemaStatement } from '../core/transaction.ts'
import { formatInstant } from '../formats/temporal.ts'
import type { Repository } from '../repository/repository.ts'
import { acceptUnchecked } from './accept-unchecked.ts'
import { Compromises } from './compromises.ts'
import { FoldedChanges } from './fold-changes.ts'
import type { RestorePlan, TablePlan } from './plan.ts'
import { leftOutStop, SchemaMaker, strictStop } from './schema-maker.ts'
import { sequencesAt } from '../history/sequence-samples.ts'
import { type LoadedTable, TableLoader } from './table-loader.ts'
import { type Unmade, unmadeOf } from './unmade.ts'

export interface RebuildEvents {
  onProgress?(event: {
    readonly stage: 'schema' | 'fold' | 'load' | 'indexes'
    readonly done: number
    readonly total: number
    readonly what: string
    readonly rows: number
  }): void
}

export interface RebuildReport {
  readonly reached: { readonly position: string; readonly committedAt: string | null }
  readonly tables: readonly LoadedTable[]
  readonly rows: number
  readonly changes: number
  readonly bytes: string
  readonly excluded: readonly string[]
  readonly notes: readonly string[]
  /** What could not be made as it was: all rows are there, these are not. */
  readonly unmade: readonly Unmade[]
  /** Bytes of changes and rows that did not fit into memory. */
  readonly spilledBytes: number
  readonly seconds: {
    readonly schema: number
    readonly fold: number
    readonly load: number
    readonly indexes: number
  }
}

export class Rebuild {
  readonly #repository: Repository
  readonly #target: Target
  readonly #plan: RestorePlan
  readonly #clock: Clock
  readonly #randomness: Randomness
  readonly #memoryBytes: number | undefined
  readonly #strict: boolean
  readonly #withRoleAttributes: boolean
  readonly #events: RebuildEvents

  /**
   * @param options.memoryBytes for changes; what exceeds it goes to an encrypted scratch file
   * @param options.strict ends at the first object that cannot be made as it was
   * @param options.withRoleAttributes gives roles what they had at the source: rights over the server among it
   */
  constructor(options: {
    repository: Repository
    target: Target
    plan: RestorePlan
    clock: Clock
    randomness: Randomness
    memoryBytes?: number | undefined
    strict?: boolean | undefined
    withRoleAttributes?: boolean | undefined
    events: RebuildEvents
  }) {
    this.#repository = options.repository
    this.#target = options.target
    this.#plan = options.plan
    this.#clock = options.clock
    this.#randomness = options.randomness
    this.#memoryBytes = options.memoryBytes
    this.#strict = options.strict === true
    this.#withRoleAttributes = options.withRoleAttributes === true
    this.#events = options.events
  }

  /** @throws TidemarkError TARGET_FAILED at what the target refuses, where the restore is strict; else it is told */
  async run(restoreId: string, signal: AbortSignal): Promise<RebuildReport> {
    const plan = this.#plan
    const { schemas } = plan.dialect
    const steps = schemas.steps(withoutExcluded(plan), { roleAttributes: this.#withRoleAttributes })
    const leftOut = plan.schema.leftOut.map((one) => ({ ...one, sql: '', instead: null }))
    if (this.#strict && leftOut[0] !== undefined) throw leftOutStop(leftOut[0], leftOut.length - 1)
    const t0 = this.#clock.elapsed()
    const loaded = await this.#target.begin(restoreId)
    const missing = plan.tables.filter((table) => !loaded.has(tableKey(table)))
    const maker = new SchemaMaker(this.#target, schemas, plan.excluded, signal)
    const compromises = await Compromises.read(this.#target)
    await this.#makeTables(maker, compromises, steps)
    const t1 = this.#clock.elapsed()
    using folds = await this.#fold(missing, signal)
    const t2 = this.#clock.elapsed()
    const loader = new TableLoader({
      repository: this.#repository,
      target: this.#target,
      dialect: plan.dialect,
      maker,
      compromises,
      strict: this.#strict,
      foldAgain: (table, within) => this.#fold([table], within),
      onProgress: (done, total, what, rows) => this.#say('load', done, total, what, rows),
    })
    const tables = [
      ...(await loader.load(missing, folds, steps.build, signal)),
      ...plan.tables.flatMap((table) => alreadyLoaded(table, loaded)),
    ].sort((a, b) => (a.schema + a.name < b.schema + b.name ? -1 : 1))
    const t3 = this.#clock.elapsed()
    const told = await this.#complete(maker, compromises, steps)
    await this.#target.finish()
    const t4 = this.#clock.elapsed()
    const { at } = plan.point
    return {
      reached: {
        position: positionText(plan.point.position),
        committedAt: at === undefined ? null : formatInstant(at.committedAt),
      },
      tables,
      rows: tables.reduce((sum, t) => sum + t.rows, 0),
      changes: tables.reduce((sum, t) => sum + t.changes, 0),
      bytes: String(plan.bytes),
      excluded: plan.excluded,
      notes: [...plan.schema.notes, ...told.notes, ...this.#target.remarks()],
      unmade: [...leftOut, ...told.unmade],
      spilledBytes: folds.spilledBytes,
      seconds: {
        schema: (t1 - t0) / 1000,
        fold: (t2 - t1) / 1000,
        load: (t3 - t2) / 1000,
        indexes: (t4 - t3) / 1000,
      },
    }
  }

  /** All that comes before the rows. A table that is refused as it was is made plainer: its rows come back. */
  async #makeTables(maker: SchemaMaker, compromises: Compromises, steps: SchemaSteps): Promise<void> {
    const before = steps.before.filter((s) => !compromises.replaced.has(s.sql))
    let done = 0
    await maker.make(before, 0, () => this.#say('schema', ++done, before.length, 'schema', 0))
    await maker.again()
    const tables = new Map(this.#plan.tables.map((table) => [tableKey(table), table]))
    const planOf = ({ statement }: Refusal): TablePlan | undefined => {
      const [object] = statement.objects
      return object !== undefined && this.#plan.dialect.schemas.makesTable(statement)
        ? tables.get(tableKey({ schema: object.schema ?? '', name: object.name }))
        : undefined
    }
    const refused = maker.take((refusal) => planOf(refusal) !== undefined)
    if (this.#strict && refused[0] !== undefined)
      throw strictStop(unmadeOf(refused[0].statement, refused[0].reason), refused.length - 1)
    for (const refusal of refused) await this.#makePlainer(maker, compromises, planOf(refusal)!, refusal)
    if (refused.length > 0) await maker.again()
    await maker.grant(steps.access, () => undefined)
  }

  async #makePlainer(
    maker: SchemaMaker,
    compromises: Compromises,
    table: TablePlan,
    { statement, reason }: Refusal,
  ): Promise<void> {
    const { table: last } = table.history.last!
    const missing = await this.#target.missingTypes([
      ...new Set(last.version.columns.map((column) => column.type)),
    ])
    for (const form of this.#plan.dialect.tables.plainer(last, missing)) {
      if ((await maker.one(form.statement)) !== undefined) continue
      await compromises.add({
        oid: table.oid,
        asText: form.asText.length > 0,
        later: [],
        unmade: [unmadeOf(statement, reason, form.instead)],
        replaced: statement.sql,
      })
      return
    }
    throw new TidemarkError(
      'TARGET_FAILED',
      `the target refuses table ${table.schema}.${table.name}: ${reason}`,
    )
  }

  /** All that comes behind the rows. */
  async #complete(
    maker: SchemaMaker,
    compromises: Compromises,
    steps: SchemaSteps,
  ): Promise<{ readonly unmade: readonly Unmade[]; readonly notes: readonly string[] }> {
    const build = [...steps.build, ...compromises.later].sort((a, b) => a.rank - b.rank)
    const words = this.#plan.dialect
    const sequences = await sequencesAt(this.#repository, words.records, this.#plan.point, this.#plan.ddl)
    for (const note of words.sequences.notes(sequences, this.#plan.schema.statements)) maker.note(note)
    const check = [...words.sequences.values(sequences), ...steps.check].sort((a, b) => a.rank - b.rank)
    const total = build.length + steps.rights.length + check.length + steps.last.length
    let done = 0
    const onStep = (): void => this.#say('indexes', ++done, total, 'keys and indexes', 0)
    await maker.make(build, 0, onStep)
    await maker.again()
    await maker.grant(steps.rights, onStep)
    await maker.make(check, 0, onStep)
    await maker.again()
    await acceptUnchecked(maker, words.schemas)
    // Nothing is tried again behind these: event triggers among them would run code of the source.
    const refused = maker.take(() => true)
    await maker.make(steps.last, 0, onStep)
    await maker.again()
    maker.giveBack(refused)
    for (const unmade of compromises.unmade) maker.tell(unmade)
    const told = maker.settle()
    if (this.#strict && told.unmade[0] !== undefined) throw strictStop(told.unmade[0], told.unmade.length - 1)
    return told
  }

  #fold(tables: readonly TablePlan[], signal: AbortSignal): Promise<FoldedChanges> {
    const onProgress = (done: number, total: number): void => this.#say('fold', done, total, 'changes', 0)
    return FoldedChanges.read({
      repository: this.#repository,
      plan: { ...this.#plan, tables },
      randomness: this.#randomness,
      memoryBytes: this.#memoryBytes,
      signal,
      onProgress,
    })
  }

  #say(
    stage: 'schema' | 'fold' | 'load' | 'indexes',
    done: number,
    total: number,
    what: string,
    rows: number,
  ): void {
    this.#events.onProgress?.({ stage, done, total, what, rows })
  }
}

function alreadyLoaded(table: TablePlan, loaded: ReadonlyMap<string, number>): RebuildReport['tables'] {
  const rows = loaded.get(tableKey(table))
  return rows === undefined
    ? []
    : [{ schema: table.schema, name: table.name, rows, changes: Number(table.changes) }]
}

/** Kinds that share their names. */
const ROWED: ReadonlySet<string> = new Set(['table', 'foreignTable', 'view'])

function withoutExcluded(plan: RestorePlan): readonly SchemaStatement[] {
  if (plan.excluded.length === 0) return plan.schema.statements
  const gone = new Set(plan.excluded)
  return plan.schema.statements.filter(
    (s) =>
      !s.objects.some(
        (o) =>
          gone.has(`${o.schema}.${o.table ?? ''}`) ||
          (ROWED.has(o.kind) && gone.has(`${o.schema}.${o.name}`)),
      ),
  )
}
