/** `read`: a table's changes between two points, from the backup alone; never across changes that it does not have. */
import { TidemarkError } from '../../core/errors.ts'
import { comparePositions, type Position, positionBefore, positionText } from '../../core/position.ts'
import type { Named } from '../../core/ports/dialect.ts'
import { type ResolvedPoint, resolvePoint } from '../../history/point.ts'
import { readDdl } from '../../history/schema-at.ts'
import { tablesIn, withParts } from '../../history/tables-in.ts'
import { parsePoint } from '../../history/point-text.ts'
import { type HistoryLine, readHistory } from '../../history/read-history.ts'
import { besideGaps, gapsBetween } from '../../repository/gaps-between.ts'
import type { Generation } from '../../repository/generation.ts'
import type { Repository } from '../../repository/repository.ts'
import { pointText } from '../../repository/restorable.ts'
import { dialectOf } from '../wiring/dialect.ts'
import { type BackupPlace, openBackup } from '../wiring/open-backup.ts'
import type { Actor } from './actor.ts'
import { audit } from './audit.ts'
import { knownTables } from './known-tables.ts'

export interface ReadOptions extends BackupPlace {
  readonly actor: Actor
  readonly table: string
  readonly from: string
  readonly to: string
  /** Leading columns of the replica identity; empty for every row. */
  readonly key?: readonly string[]
  readonly onLine: (line: HistoryLine) => Promise<void>
}

export async function read(
  options: ReadOptions,
): Promise<{ readonly lines: number; readonly audit: string }> {
  const { repository } = await openBackup({ ...options, role: 'restore' })
  const cut = options.table.indexOf('.')
  const table =
    cut < 0
      ? { schema: 'public', name: options.table }
      : { schema: options.table.slice(0, cut), name: options.table.slice(cut + 1) }
  const from = await resolvePoint(repository, parsePoint(options.from))
  const to = await resolvePoint(repository, parsePoint(options.to))
  if (isBehind(from, to))
    throw new TidemarkError(
      'USAGE',
      `--from ${pointText(repository.catalog, from.generation, from.position)} lies behind --to ${pointText(repository.catalog, to.generation, to.position)}: nothing can lie between them`,
      { next: 'the same with --from and --to exchanged' },
    )
  await refuseUnknown(repository, table, from, to)
  await refuseGaps(repository, table, from, to)
  const where = await audit(repository, options.actor, 'read', `${table.schema}.${table.name}`)
  let lines = 0
  for await (const line of readHistory(repository, table, from, to, options.key)) {
    await options.onLine(line)
    lines++
  }
  return { lines, audit: where }
}

/** @throws TidemarkError USAGE where there are no rows under that name: it is mistyped, or other tables have them */
async function refuseUnknown(
  repository: Repository,
  table: Named,
  from: ResolvedPoint,
  { generation, position }: ResolvedPoint,
): Promise<void> {
  const name = `${table.schema}.${table.name}`
  const dialect = dialectOf(generation.facts.engine)
  const records = await readDdl(repository, dialect.records, generation)
  const known = await knownTables(repository, generation, records)
  const since = from.generation === generation ? from.position : undefined
  const { joined } = await tablesIn(repository, dialect, generation, records, since, position)
  const parts = [...withParts(joined, [name])].filter((part) => part !== name).sort()
  if (parts.length > 0)
    throw new TidemarkError(
      'USAGE',
      `${name} has no rows of its own, its partitions have them: ${parts.slice(0, NAMED).join(', ')}${parts.length > NAMED ? ` and ${parts.length - NAMED} more` : ''}`,
      { next: 'the same with --table and one of them; tidemark find --table takes in all of them' },
    )
  if (known.has(name)) return
  const names = [...known.keys()].sort()
  throw new TidemarkError(
    'USAGE',
    `the backup knows no table ${name} before ${positionText(position)}; there are ${names.slice(0, 10).join(', ')}${names.length > 10 ? ` and ${names.length - 10} more` : ''}`,
    { next: 'tidemark restore --dry-run --at the same point  (lists the tables)' },
  )
}

function isBehind(from: ResolvedPoint, to: ResolvedPoint): boolean {
  return from.generation === to.generation
    ? comparePositions(from.position, to.position) > 0
    : from.generation.number > to.generation.number
}

interface Part {
  readonly generation: Generation
  /** Exclusive. */
  readonly from: Position
  readonly to: Position
}

/** What the generations can be asked for between the two points. */
function partsOf({ catalog }: Repository, from: ResolvedPoint, to: ResolvedPoint): Part[] {
  return catalog.generations.flatMap((generation) => {
    const { number, bases, end } = generation
    const [first] = bases
    if (first === undefined || number < from.generation.number || number > to.generation.number) return []
    return [
      {
        generation,
        from: generation === from.generation ? from.position : positionBefore(first.closing),
        to: generation === to.generation ? to.position : positionBefore(end),
      },
    ]
  })
}

/** @throws TidemarkError GAP where changes of the table between the two points are in no store */
async function refuseGaps(
  repository: Repository,
  table: Named,
  from: ResolvedPoint,
  to: ResolvedPoint,
): Promise<void> {
  const name = `${table.schema}.${table.name}`
  const found: string[] = []
  const left: Part[] = []
  for (const part of partsOf(repository, from, to)) {
    const { generation } = part
    // One that was called otherwise when its gap began is the same table.
    const oids = (await knownTables(repository, generation)).get(name)
    const missing = gapsBetween(
      repository.catalog.gaps,
      generation,
      part.from,
      part.to,
      (scope) =>
        oids?.has(scope.oid) === true || (scope.schema === table.schema && scope.name === table.name),
    )
    for (const { gap, to: end } of missing)
      found.push(
        `from ${positionText(gap.from)}${end === undefined ? ' on' : ` to ${positionText(end)}`}: ${gap.reason}`,
      )
    for (const range of besideGaps(missing, part.from, part.to)) left.push({ generation, ...range })
  }
  const isOne = from.generation === to.generation
  if (isOne && found.length === 0) return
  const commands = left.map(
    (part) =>
      `--from ${pointText(repository.catalog, part.generation, part.from)} --to ${pointText(repository.catalog, part.generation, part.to)}`,
  )
  const others = found.length > 1 ? `; and ${found.length - 1} more gaps` : ''
  throw new TidemarkError(
    'GAP',
    isOne
      ? `${name} has a gap between the two points, ${found[0]!}${others}`
      : 'the two points lie in different generations; between them there is a gap',
    {
      means: `What changed in the gap is in no store: the history would lack it without a word. Nothing was read.`,
      next:
        commands.length === 0
          ? 'tidemark windows'
          : `the same beside the gap: ${commands.slice(0, NAMED).join(', then ')}${commands.length > NAMED ? `, and so on: tidemark windows lists the gaps` : ''}`,
    },
  )
}

/** What a terminal still shows. */
const NAMED = 20
