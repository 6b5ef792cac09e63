/** `find`: what happened around a time, from the backup alone. */
import { TidemarkError } from '../../core/errors.ts'
import { formatInstant } from '../../formats/temporal.ts'
import { type FindQuery, findTransactions, type FoundTransaction, isNamed } from '../../history/find.ts'
import { searchedOf, type Unsearched, unsearched } from '../../history/unsearched.ts'
import { parsePoint } from '../../history/point-text.ts'
import { readDdl } from '../../history/schema-at.ts'
import type { Repository } from '../../repository/repository.ts'
import type { Actor } from './actor.ts'
import { audit } from './audit.ts'
import { type BackupPlace, openBackup } from '../wiring/open-backup.ts'
import { backupDialect } from '../wiring/dialect.ts'
import { knownTables } from './known-tables.ts'

export interface FindOptions extends Omit<FindQuery, 'from' | 'to'>, BackupPlace {
  readonly actor: Actor
  readonly around: string | undefined
  readonly withinMinutes: number
}

export interface FindReport {
  /** What was asked for, by the source's clock. */
  readonly from: string
  readonly to: string
  /** Of that, what could be searched, */
  readonly searched: readonly { readonly from: string; readonly to: string }[]
  /** and what could not, or not for every table: nothing is said of what happened there. */
  readonly unsearched: readonly Unsearched[]
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
  const oids = options.table === undefined ? new Set<number>() : await oidsOf(repository, options.table)
  const asked = { from: centre - span, to: centre + span }
  const transactions = await findTransactions(repository, backupDialect.records, { ...options, ...asked })
  const missing = await unsearched(
    repository,
    asked,
    ({ oid, schema, name }) =>
      options.table === undefined || oids.has(oid) || isNamed(`${schema}.${name}`, options.table),
  )
  return {
    from: formatInstant(asked.from),
    to: formatInstant(asked.to),
    searched: searchedOf(asked, missing),
    unsearched: missing,
    transactions,
    stores: troubles(),
    audit: await audit(repository, options.actor, 'find', options.table ?? 'all tables'),
  }
}

/**
 * Of all that ever had the name: a gap of one of them is a gap of the table, whatever it was called when that began.
 *
 * @throws TidemarkError USAGE for a name that nothing ever had: mistyped, it would look like a table to which nothing happened
 */
async function oidsOf(repository: Repository, table: string): Promise<ReadonlySet<number>> {
  const { generations, gaps } = repository.catalog
  const known = new Set<string>()
  const oids = new Set<number>()
  for (const generation of generations) {
    for (const [name, ofName] of await knownTables(repository, generation)) {
      known.add(name)
      if (isNamed(name, table)) for (const oid of ofName) oids.add(oid)
    }
    for (const { record } of await readDdl(repository, backupDialect.records, generation)) {
      const name = backupDialect.records.text(record)?.split(' ').at(-1)
      if (name?.includes('.') === true) known.add(name)
    }
  }
  for (const { scope } of gaps) if (scope.kind === 'table') known.add(`${scope.schema}.${scope.name}`)
  const names = [...known].filter((name) => !name.startsWith('tidemark.')).sort()
  if (names.some((name) => isNamed(name, table))) return oids
  throw new TidemarkError(
    'USAGE',
    `--table ${table.slice(0, 120)}: the backup has never known such a table; there are ${names.slice(0, 20).join(', ')}${names.length > 20 ? ` and ${names.length - 20} more` : ''}`,
    { next: 'the same with --table and one of them' },
  )
}
