/** `find`: what happened around a time, from the backup alone. */
import { TidemarkError } from '../../core/errors.ts'
import { formatInstant } from '../../formats/temporal.ts'
import { type FindQuery, findTransactions, type FoundTransaction } from '../../history/find.ts'
import { tablesIn, withParts } from '../../history/tables-in.ts'
import { placesOf, searchedOf, type Unsearched, unsearched } from '../../history/unsearched.ts'
import { parsePoint } from '../../history/point-text.ts'
import { readDdl } from '../../history/schema-at.ts'
import { reachedAt } from '../../repository/source-time.ts'
import type { Repository } from '../../repository/repository.ts'
import type { Actor } from './actor.ts'
import { audit } from './audit.ts'
import { type BackupPlace, openBackup } from '../wiring/open-backup.ts'
import { dialectOf } from '../wiring/dialect.ts'
import { knownTables } from './known-tables.ts'

export interface FindOptions extends Omit<FindQuery, 'from' | 'to' | 'isWanted'>, BackupPlace {
  /** `schema.name`; without its schema it means the table in any. A partitioned one means its partitions. */
  readonly table?: string
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
  /** The partitions of the table that was asked for, at any moment of that time: they have its rows. */
  readonly partitions: readonly string[]
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
    const based = repository.catalog.generations.filter((g) => g.bases.length > 0).at(-1)
    const last =
      repository.catalog.generations.flatMap((g) => g.segments.last?.body.latestCommittedAt ?? []).at(-1) ??
      // Where nothing was committed behind the base.
      (based === undefined ? undefined : reachedAt(based))
    centre = BigInt(Date.parse(last ?? '1970-01-01T00:00:00Z')) * 1000n + 999n
  } else {
    const point = parsePoint(options.around)
    if (point.kind !== 'time') throw new TidemarkError('POINT_INVALID', '--around is a time with zone')
    centre = point.micros
  }
  const asked = { from: centre - span, to: centre + span }
  const named = options.table === undefined ? undefined : await tablesCalled(repository, options.table, asked)
  const engine = repository.catalog.generation?.facts.engine
  const query = {
    ...options,
    ...asked,
    ...(named === undefined ? {} : { isWanted: named.isWanted }),
  }
  // Without a generation nothing has happened.
  const transactions =
    engine === undefined ? [] : await findTransactions(repository, dialectOf(engine).records, query)
  const missing = await unsearched(
    repository,
    asked,
    ({ oid, schema, name }) =>
      named === undefined || named.oids.has(oid) || named.isWanted(`${schema}.${name}`),
  )
  return {
    from: formatInstant(asked.from),
    to: formatInstant(asked.to),
    searched: searchedOf(asked, missing),
    unsearched: missing,
    partitions: named?.parts ?? [],
    transactions,
    stores: troubles(),
    audit: await audit(repository, options.actor, 'find', options.table ?? 'all tables'),
  }
}

interface Called {
  /** Of all that ever had the name: a gap of one is a gap of the table, whatever it was called when that began. */
  readonly oids: ReadonlySet<number>
  readonly parts: readonly string[]
  isWanted(name: string): boolean
}

/** @throws TidemarkError USAGE for a name that nothing ever had: mistyped, it would look like a table to which nothing happened */
async function tablesCalled(
  repository: Repository,
  table: string,
  asked: { readonly from: bigint; readonly to: bigint },
): Promise<Called> {
  const { generations, gaps } = repository.catalog
  const known = new Set<string>()
  const parts = new Set<string>()
  const oids = new Set<number>()
  const isNamed = (name: string): boolean => name === table || name.endsWith(`.${table}`)
  for (const generation of generations) {
    const dialect = dialectOf(generation.facts.engine)
    const records = await readDdl(repository, dialect.records, generation)
    const tables = await knownTables(repository, generation, records)
    const { low, high } = await placesOf(generation, asked)
    const { names, joined } = await tablesIn(repository, dialect, generation, records, low, high)
    for (const name of [...tables.keys(), ...names]) known.add(name)
    for (const { record } of records) {
      const name = dialect.records.text(record)?.split(' ').at(-1)
      if (name?.includes('.') === true) known.add(name)
    }
    const wanted = withParts(joined, [...known].filter(isNamed))
    for (const name of wanted) {
      if (!isNamed(name)) parts.add(name)
      for (const oid of tables.get(name) ?? []) oids.add(oid)
    }
  }
  for (const { scope } of gaps) if (scope.kind === 'table') known.add(`${scope.schema}.${scope.name}`)
  if ([...known].some(isNamed))
    return { oids, parts: [...parts].sort(), isWanted: (name) => isNamed(name) || parts.has(name) }
  const names = [...known].filter((name) => !name.startsWith('tidemark.')).sort()
  throw new TidemarkError(
    'USAGE',
    `--table ${table.slice(0, 120)}: the backup has never known such a table; there are ${names.slice(0, 20).join(', ')}${names.length > 20 ? ` and ${names.length - 20} more` : ''}`,
    { next: 'the same with --table and one of them' },
  )
}
