/**
 * Loads tables in parallel, the largest first; each gets its keys and indexes as soon as its rows are in. All rows come
 * back: a table that does not take its rows as it was made is made looser until it does.
 */
import { TidemarkError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import { type Dialect, type LooserTable, NeedsNextForm, type RowPrinter } from '../core/ports/dialect.ts'
import { RowsRefused, type Target } from '../core/ports/target.ts'
import { tableText } from '../core/relation.ts'
import type { SchemaStatement } from '../core/transaction.ts'
import { RANK } from '../formats/rank.ts'
import type { Repository } from '../repository/repository.ts'
import type { FoldedChanges } from './fold-changes.ts'
import type { Compromises } from './compromises.ts'
import type { TablePlan } from './plan.ts'
import type { SchemaMaker } from './schema-maker.ts'
import type { TableFold } from './table-fold.ts'
import { tableRows } from './table-rows.ts'
import { unmadeOf } from './unmade.ts'

export interface LoadedTable {
  readonly schema: string
  readonly name: string
  readonly rows: number
  readonly changes: number
}

const AS_IT_IS: LooserTable = { now: [], later: [], lost: [], asText: false }

export interface LoadOptions {
  readonly repository: Repository
  readonly target: Target
  readonly dialect: Dialect
  readonly maker: SchemaMaker
  readonly compromises: Compromises
  /** A refusal ends the load. */
  readonly strict: boolean
  /** The changes of one table again: a fold can be read once. */
  foldAgain(table: TablePlan, signal: AbortSignal): Promise<FoldedChanges>
  onProgress(loaded: number, total: number, what: string, rows: number): void
}

export class TableLoader {
  readonly #options: LoadOptions
  readonly #loaded: LoadedTable[] = []
  #total = 0
  #rows = 0

  constructor(options: LoadOptions) {
    this.#options = options
  }

  async load(
    tables: readonly TablePlan[],
    folds: FoldedChanges,
    build: readonly SchemaStatement[],
    outer: AbortSignal,
  ): Promise<readonly LoadedTable[]> {
    const stop = new AbortController()
    const signal = AbortSignal.any([outer, stop.signal])
    const size = (table: TablePlan): bigint => BigInt(table.base?.body.rawBytes ?? '0') + table.changes * 100n
    const queue = [...tables].sort((a, b) => (size(b) > size(a) ? 1 : size(b) < size(a) ? -1 : a.oid - b.oid))
    this.#total = queue.length
    let failure: unknown
    const worker = async (lane: number): Promise<void> => {
      for (let table = queue.shift(); table !== undefined; table = queue.shift()) {
        const fold = folds.of(table)
        const rows = await this.#one(table, fold, lane, signal)
        const { schema, name } = table
        const indexes = build.filter(
          (s) =>
            (s.rank === RANK.key || s.rank === RANK.index) &&
            s.objects.some((o) => o.schema === schema && o.table === name),
        )
        await this.#options.maker.make(indexes, 1 + lane, () => undefined, signal)
        this.#loaded.push({ schema, name, rows, changes: fold.changes })
        this.#say(table)
      }
    }
    await Promise.all(
      Array.from({ length: LIMITS.copyConnections }, (_, lane) =>
        worker(lane).catch((error: unknown) => {
          failure ??= error
          stop.abort(new DOMException('stopped', 'AbortError'))
        }),
      ),
    )
    if (failure !== undefined) throw failure
    return this.#loaded
  }

  #say(table: TablePlan): void {
    const { schema, name } = table
    this.#options.onProgress(this.#loaded.length, this.#total, `${schema}.${name}`, this.#rows)
  }

  async #one(table: TablePlan, fold: TableFold, lane: number, signal: AbortSignal): Promise<number> {
    const { maker, strict } = this.#options
    let refused: RowsRefused
    try {
      return await this.#printed(table, fold, this.#forms(table), signal)
    } catch (error) {
      if (!(error instanceof RowsRefused) || strict) throw error
      refused = error
    }
    const words = this.#options.dialect.tables
    const { table: last } = table.history.last!
    if (words.isAbsent(refused.state) && last.extension !== undefined)
      return await this.#withoutExtension(table, refused)
    const forms = words.looser(last, refused.state)
    for (const form of words.isOfTheMoment(refused.state) ? [AS_IT_IS, ...forms] : forms) {
      const unmade = form.lost.map(({ statement, instead }) => unmadeOf(statement, refused.message, instead))
      if (form !== AS_IT_IS)
        await this.#options.compromises.add({
          oid: table.oid,
          asText: form.asText,
          later: form.later,
          unmade,
        })
      for (const statement of form.now) await maker.one(statement, 1 + lane)
      try {
        using again = await this.#options.foldAgain(table, signal)
        return await this.#printed(table, again.of(table), this.#forms(table), signal)
      } catch (error) {
        if (!(error instanceof RowsRefused)) throw error
        refused = error
      }
    }
    throw refused
  }

  /** The extension could not be made, or its version here has no such table: its rows stay in the backup alone. */
  async #withoutExtension(table: TablePlan, refused: RowsRefused): Promise<number> {
    const statement = this.#options.dialect.tables.rowsLeft(table.history.last!.table)
    const unmade = [unmadeOf(statement, refused.message, 'nothing: its rows are in the backup alone')]
    await this.#options.compromises.add({ oid: table.oid, asText: false, later: [], unmade })
    return 0
  }

  /** In the first of the forms that says all its values. */
  async #printed(
    table: TablePlan,
    fold: TableFold,
    [printer, ...others]: readonly RowPrinter[],
    signal: AbortSignal,
  ): Promise<number> {
    try {
      return await this.#copy(table, fold, printer!, signal)
    } catch (error) {
      // One value in millions that only another form can say: the table again, in that one.
      if (!(error instanceof NeedsNextForm) || others.length === 0) throw error
      using again = await this.#options.foldAgain(table, signal)
      return await this.#printed(table, again.of(table), others, signal)
    }
  }

  #forms(table: TablePlan): readonly RowPrinter[] {
    const asText = this.#options.compromises.asText.has(table.oid)
    return this.#options.dialect.rows.printers(table.history.last!.table.relation, asText)
  }

  async #copy(table: TablePlan, from: TableFold, printer: RowPrinter, signal: AbortSignal): Promise<number> {
    const columns = table.history.last!.columns.map((column) => column.name)
    const source = tableRows(this.#options.repository, table, from, printer, (count) => {
      this.#rows += count
      this.#say(table)
    })
    const target = { schema: table.schema, name: table.name, columns }
    const taken = await this.#options.target.load(target, printer.form, source.chunks, signal)
    if (taken !== source.rows())
      throw new TidemarkError(
        'TARGET_FAILED',
        `${tableText(table)}: ${source.rows()} rows were sent, the target took ${taken}`,
      )
    return taken
  }
}
