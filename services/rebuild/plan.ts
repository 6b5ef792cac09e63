/** What a restore to a point takes, before anything is touched: or an error that names the gap. */
import { TidemarkError } from '../core/errors.ts'
import type { Dialect, PlacedRecord, SchemaAtPoint, TableDocument } from '../core/ports/dialect.ts'
import {
  comparePositions,
  laterPosition,
  parsePosition,
  type Position,
  positionBefore,
  positionText,
} from '../core/position.ts'
import type { NumberedEntry } from '../formats/ledger-entry.ts'
import type { Gap, Generation } from '../repository/generation.ts'
import type { Repository } from '../repository/repository.ts'
import type { Catalog } from '../repository/catalog.ts'
import { closes, gapsAt, pointText } from '../repository/restorable.ts'
import type { Coverage } from '../repository/segment-log.ts'
import type { ResolvedPoint } from '../history/point.ts'
import { apart } from './same-names.ts'
import { readDdl, schemaAt } from '../history/schema-at.ts'
import { withParts } from '../history/tables-in.ts'
import { UnreadableTables } from './unreadable-tables.ts'
import { wholePoints } from './whole-points.ts'
import { buildHistories, type TableHistory } from '../history/table-history.ts'

export interface TablePlan {
  readonly oid: number
  readonly schema: string
  readonly name: string
  /** The copy it starts from; undefined for a table that began in the stream. */
  readonly base: NumberedEntry<'table'> | undefined
  readonly history: TableHistory
  /** Encoded changes that may concern it. */
  readonly changes: bigint
  /** Of those, before compression. */
  readonly changeBytes: bigint
}

/** Read when they are wanted: a long backup's do not fit into memory. */
interface PlannedSegments {
  readonly count: number
  entries(): AsyncIterable<NumberedEntry<'segments'>>
}

export interface RestorePlan {
  /** The engine's whose rows and schema these are. */
  readonly dialect: Dialect
  readonly point: ResolvedPoint
  readonly tables: readonly TablePlan[]
  readonly excluded: readonly string[]
  /** All that a table is called by its records up to the point: one of them can be left out. */
  readonly called: ReadonlySet<string>
  readonly segments: PlannedSegments
  readonly schema: SchemaAtPoint
  readonly ddl: readonly PlacedRecord[]
  readonly bytes: bigint
  readonly changes: bigint
  readonly keys: readonly string[]
}

function earlier(a: Position, b: Position): Position {
  return comparePositions(a, b) < 0 ? a : b
}

/** As its records call it; where none is old enough, as the gap does. */
function nameAt(history: TableHistory | undefined, scope: { schema: string; name: string }): string {
  return history?.last === undefined ? `${scope.schema}.${scope.name}` : history.name
}

/** The `table` entry to start from: the newest one, of the base or of a re-snapshot, that is not behind the point. */
function tableStarts(
  generation: Generation,
  base: ResolvedPoint['base'],
  point: Position,
): Map<number, NumberedEntry<'table'>> {
  const starts = new Map<number, NumberedEntry<'table'>>()
  for (const table of base.tables) starts.set(table.body.oid, table)
  for (const table of generation.tables.values()) {
    const position = parsePosition(table.body.position)
    const held = starts.get(table.body.oid)
    if (!closes(position, point)) continue
    if (
      held === undefined
        ? comparePositions(position, base.from) >= 0
        : comparePositions(position, parsePosition(held.body.position)) > 0
    )
      starts.set(table.body.oid, table)
  }
  return starts
}

/** Gaps of tables that begin behind the position of a time, before the next transaction: whether the time lies before them, nobody knows. */
function gapsBehind(gaps: readonly Gap[], { generation, position, until }: ResolvedPoint): readonly Gap[] {
  return gaps.filter(
    (gap) =>
      gap.generation === generation.facts.generation &&
      gap.scope.kind === 'table' &&
      comparePositions(gap.from, position) > 0 &&
      comparePositions(gap.from, until) <= 0,
  )
}

/** The points on both sides of a gap of the whole stream. */
function besideGap(gap: Gap, { generation, position }: ResolvedPoint, catalog: Catalog): string {
  const counts = ({ scope }: Gap): boolean => scope.kind === 'stream'
  const points = wholePoints(catalog, {
    generation,
    before: position,
    behind: position,
    countsBefore: counts,
    countsBehind: counts,
  })
  const newer = catalog.generations.find(({ number }) => number > generation.number)
  const opens = newer?.bases[0]?.closing
  if (gap.to === undefined && newer !== undefined && opens !== undefined)
    points.push(`--at ${pointText(catalog, newer, opens)}  (the first one behind it)`)
  return points.length === 0 ? 'tidemark windows' : points.join(', or ')
}

/** @throws TidemarkError GAP, and what reading schema and ledger throws */
export async function planRestore(
  repository: Repository,
  dialect: Dialect,
  point: ResolvedPoint,
  exceptTables: readonly string[] = [],
): Promise<RestorePlan> {
  const { generation, base, position } = point
  const starts = tableStarts(generation, base, position)
  const copies = new Map<number, { position: Position; table: TableDocument }>()
  for (const [oid, table] of starts) {
    const stored = await repository.getSealed(table.body.version, {
      kind: 'table',
      generation: String(generation.facts.generation),
      table: String(oid),
    })
    copies.set(oid, {
      position: parsePosition(table.body.position),
      table: dialect.tables.parse(stored.toString('utf8')),
    })
  }
  const ddl = await readDdl(repository, dialect.records, generation)
  const histories = buildHistories(dialect.tables, copies, ddl, position)
  const schema = apart(
    dialect.tables,
    await schemaAt(repository, dialect.schemas, generation, ddl, histories, position),
    histories,
  )
  // A table that has no rows but those of its parts is left out with them.
  const joined = schema.statements.flatMap((statement) => dialect.schemas.joined(statement) ?? [])
  const excluded = withParts(joined, exceptTables)
  const unreadable = new UnreadableTables()
  // Where the nearest points are looked for that have what this one lacks.
  let before: Position | undefined = position
  let behind: Position | undefined = position
  for (const gap of gapsAt(repository.catalog.gaps, generation, position)) {
    if (gap.scope.kind === 'stream')
      throw new TidemarkError(
        'GAP',
        `${positionText(position)} lies in a gap that begins at ${positionText(gap.from)}: ${gap.reason}`,
        { next: besideGap(gap, point, repository.catalog) },
      )
    const name = nameAt(histories.get(gap.scope.oid), gap.scope)
    const dropped = histories.get(gap.scope.oid)?.droppedAt !== undefined
    if (excluded.has(name) || dropped) continue
    unreadable.add(
      name,
      `has a gap from ${positionText(gap.from)}${gap.closedAt === undefined ? '' : ` to ${positionText(gap.closedAt)}`}: ${gap.reason}`,
    )
  }
  for (const gap of gapsBehind(repository.catalog.gaps, point)) {
    if (gap.scope.kind === 'stream') continue
    const name = nameAt(histories.get(gap.scope.oid), gap.scope)
    if (excluded.has(name)) continue
    unreadable.add(
      name,
      `has a gap from ${positionText(gap.from)} on, and no transaction lies between that and the last one before the time, at ${positionText(position)}: the time may lie before the gap or in it: ${gap.reason}`,
    )
    behind = laterPosition(behind, gap.from)
  }
  const oldest = [...starts.values()].reduce<Position>(
    (low, table) =>
      comparePositions(parsePosition(table.body.position), low) < 0
        ? parsePosition(table.body.position)
        : low,
    position,
  )
  const from = comparePositions(oldest, base.from) < 0 ? oldest : base.from
  const needed = (c: Coverage): boolean =>
    comparePositions(c.from, position) < 0 && comparePositions(c.to, from) >= 0
  const sums = await generation.segments.sums(
    needed,
    (c) => comparePositions(c.from, from) >= 0 && comparePositions(c.to, position) <= 0,
  )
  const segments: PlannedSegments = {
    count: sums.segments,
    entries: () => generation.segments.segments(needed),
  }
  const changes = sums.tables
  let { bytes } = sums
  const keys = new Set(sums.keys)
  const tables: TablePlan[] = []
  for (const [oid, history] of histories) {
    const last = history.last
    if (last === undefined || history.droppedAt !== undefined || !last.table.hasRows) continue
    if (excluded.has(history.name)) continue
    const broken = history.steps.find(
      (step, index) => step.gap !== undefined && (index > 0 || !starts.has(oid)),
    )
    if (broken !== undefined) {
      const isNew = unreadable.add(
        history.name,
        `changed at ${positionText(broken.position)} (${broken.gap ?? ''}), and no copy of it after that covers the point`,
      )
      // A recorded gap says where it ends.
      if (isNew) behind = undefined
      before = before === undefined ? undefined : earlier(before, positionBefore(broken.position))
      continue
    }
    const start = starts.get(oid)
    for (const part of start?.body.parts ?? []) {
      bytes += BigInt(part.bytes)
      keys.add(part.key)
    }
    tables.push({
      oid,
      schema: last.table.version.schema,
      name: last.table.version.name,
      base: start,
      history,
      changes: changes.get(oid)?.rows ?? 0n,
      changeBytes: changes.get(oid)?.bytes ?? 0n,
    })
  }
  for (const name of untoldTables(dialect, schema, histories)) {
    if (excluded.has(name)) continue
    unreadable.add(
      name,
      'was in the database, and the backup has neither a copy nor a record of it: it would come back empty',
    )
    before = undefined
    behind = undefined
  }
  // Behind the point what is dropped stays dropped; before it the table was there.
  const counts = ({ scope }: Gap): boolean =>
    scope.kind === 'stream' || !excluded.has(nameAt(histories.get(scope.oid), scope))
  unreadable.refuse(() => {
    const points = wholePoints(repository.catalog, {
      generation,
      before,
      behind,
      countsBefore: counts,
      countsBehind: (gap) =>
        counts(gap) && (gap.scope.kind === 'stream' || histories.get(gap.scope.oid)?.droppedAt === undefined),
    })
    return points.length > 0 ? points : before === undefined ? ['a later point'] : []
  })
  return {
    dialect,
    point,
    tables,
    excluded: [...excluded],
    called: new Set(
      [...histories.values()].filter(({ last }) => last !== undefined).map((history) => history.name),
    ),
    segments,
    schema,
    ddl,
    bytes,
    changes: sums.changes,
    keys: [...keys],
  }
}

/** Tables with rows of their own that the schema makes and of which there is neither a copy nor a record: nobody knows their rows. */
function untoldTables(
  { schemas }: Dialect,
  schema: SchemaAtPoint,
  histories: ReadonlyMap<number, TableHistory>,
): string[] {
  const told = new Set(
    [...histories.values()]
      .filter((history) => history.droppedAt === undefined)
      .map((history) => history.name),
  )
  const made = schema.statements.flatMap((statement) => {
    const [self] = statement.objects
    return self !== undefined && schemas.makesRows(statement) ? [`${self.schema ?? ''}.${self.name}`] : []
  })
  return made.filter((name) => !told.has(name))
}
