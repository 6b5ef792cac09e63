/** `find` and `read`: what happened, from the backup alone. */
import { TidemarkError } from '../../core/errors.ts'
import { comparePositions, positionText } from '../../core/position.ts'
import { formatInstant } from '../../formats/temporal.ts'
import { type FindQuery, findTransactions, type FoundTransaction } from '../../history/find.ts'
import { resolvePoint } from '../../history/point.ts'
import { parsePoint } from '../../history/point-text.ts'
import { type HistoryLine, readHistory } from '../../history/read-history.ts'
import { readDdl } from '../../history/schema-at.ts'
import type { Generation } from '../../repository/generation.ts'
import type { Repository } from '../../repository/repository.ts'
import type { Actor } from './actor.ts'
import { audit } from './audit.ts'
import { type BackupPlace, openBackup } from '../wiring/open-backup.ts'
import { backupDialect } from '../wiring/dialect.ts'

export interface FindOptions extends Omit<FindQuery, 'from' | 'to'>, BackupPlace {
  readonly actor: Actor
  readonly around: string | undefined
  readonly withinMinutes: number
}

export interface FindReport {
  /** What was searched, by the source's clock. */
  readonly from: string
  readonly to: string
  readonly transactions: readonly FoundTransaction[]
  /** What went wrong with a store and was helped by another. */
  readonly stores: readonly string[]
  readonly audit: string
}

export async function find(options: FindOptions): Promise<FindReport> {
  const { repository, troubles } = await openBackup({ ...options, role: 'restore' })
  const span = BigInt(Math.round(options.withinMinutes * 60_000_000))
  let centre: bigint
  if (options.around === undefined) {
    const last = repository.catalog.generations
      .flatMap((g) => g.segments.last?.body.latestCommittedAt ?? [])
      .at(-1)
    centre = BigInt(Date.parse(last ?? '1970-01-01T00:00:00Z')) * 1000n + 999n
  } else {
    const point = parsePoint(options.around)
    if (point.kind !== 'time') throw new TidemarkError('POINT_INVALID', '--around is a time with zone')
    centre = point.micros
  }
  if (options.table !== undefined) await refuseUnknown(repository, options.table)
  const transactions = await findTransactions(repository, backupDialect.records, {
    ...options,
    from: centre - span,
    to: centre + span,
  })
  return {
    from: formatInstant(centre - span),
    to: formatInstant(centre + span),
    transactions,
    stores: troubles(),
    audit: await audit(repository, options.actor, 'find', options.table ?? 'all tables'),
  }
}

/** @throws TidemarkError USAGE for a name that nothing ever had: mistyped, it would look like a table to which nothing happened */
async function refuseUnknown(repository: Repository, table: string): Promise<void> {
  const { generations, gaps } = repository.catalog
  const known = new Set<string>()
  for (const generation of generations) {
    for (const name of await knownTables(repository, generation)) known.add(name)
    for (const { record } of await readDdl(repository, backupDialect.records, generation)) {
      const name = backupDialect.records.text(record)?.split(' ').at(-1)
      if (name?.includes('.') === true) known.add(name)
    }
  }
  for (const { scope } of gaps) if (scope.kind === 'table') known.add(`${scope.schema}.${scope.name}`)
  const names = [...known].filter((name) => !name.startsWith('tidemark.')).sort()
  if (names.some((name) => name === table || name.endsWith(`.${table}`))) return
  throw new TidemarkError(
    'USAGE',
    `--table ${table.slice(0, 120)}: the backup has never known such a table; there are ${names.slice(0, 20).join(', ')}${names.length > 20 ? ` and ${names.length - 20} more` : ''}`,
    { next: 'the same with --table and one of them' },
  )
}

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
  if (from.generation !== to.generation)
    throw new TidemarkError(
      'GAP',
      'the two points lie in different generations; between them there is a gap',
      { next: 'tidemark windows' },
    )
  if (comparePositions(from.position, to.position) > 0)
    throw new TidemarkError(
      'USAGE',
      `--from ${positionText(from.position)} lies behind --to ${positionText(to.position)}: nothing can lie between them`,
      { next: 'the same with --from and --to exchanged' },
    )
  const known = await knownTables(repository, to.generation)
  if (!known.has(`${table.schema}.${table.name}`)) {
    const names = [...known].sort()
    throw new TidemarkError(
      'USAGE',
      `the backup knows no table ${table.schema}.${table.name} before ${positionText(to.position)}; there are ${names.slice(0, 10).join(', ')}${names.length > 10 ? ` and ${names.length - 10} more` : ''}`,
      { next: 'tidemark restore --dry-run --at the same point  (lists the tables)' },
    )
  }
  const where = await audit(repository, options.actor, 'read', `${table.schema}.${table.name}`)
  let lines = 0
  for await (const line of readHistory(repository, table, from, to, options.key)) {
    await options.onLine(line)
    lines++
  }
  return { lines, audit: where }
}

/** By a copy or by a record, under every name that they had: an unknown name is a slip, and no table without changes. */
async function knownTables(repository: Repository, generation: Generation): Promise<ReadonlySet<string>> {
  const known = new Set<string>()
  for (const { body } of generation.tables.values()) known.add(`${body.schema}.${body.name}`)
  for (const { record } of await readDdl(repository, backupDialect.records, generation)) {
    const named = backupDialect.records.tableNamed(record)
    if (named !== undefined) known.add(`${named.schema}.${named.name}`)
  }
  return known
}
