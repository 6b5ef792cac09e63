/**
 * Which reading of the schema a point meets hangs on the moment: an older one, with more records behind it, must give the same
 * schema. What was changed without a record between the two, and what either says of itself, is no difference.
 */
import type { SchemaAtPoint } from '../../services/core/ports/dialect.ts'
import type { SchemaStatement } from '../../services/core/transaction.ts'
import { postgresDialect } from '../../services/engines/postgres/dialect/postgres-dialect.ts'
import { parsePoint } from '../../services/history/point-text.ts'
import { resolvePoint } from '../../services/history/point.ts'
import { SchemaReadings } from '../../services/history/schema-readings.ts'
import { planRestore, type RestorePlan } from '../../services/rebuild/plan.ts'
import type { Generation } from '../../services/repository/generation.ts'
import type { Repository } from '../../services/repository/repository.ts'

/** The generation as if its readings behind the first ones were not there. */
function withFirst(generation: Generation, count: number): Generation {
  const schemas = generation.schemas.slice(0, count)
  return new Proxy(generation, {
    get(target, key) {
      if (key === 'schemas') return schemas
      const value: unknown = Reflect.get(target, key, target)
      return typeof value === 'function' ? (value.bind(target) as unknown) : value
    },
  })
}

/** Records and readings quote and break lines each in their way. */
const textOf = ({ sql }: SchemaStatement): string =>
  sql
    .replaceAll(/"(\w+)"/g, '$1')
    .replaceAll(/\s+/g, ' ')
    .replaceAll(/(?<=\() | (?=\))|[; ]+$/g, '')

/** @returns a line for each statement that is in one of the two alone and of nothing that is told */
function differences(
  newest: SchemaAtPoint,
  older: SchemaAtPoint,
  isTold: (text: string) => boolean,
): string[] {
  const [is, was] = [newest, older].map(({ statements }) => new Set(statements.map(textOf)))
  const alone = (schema: SchemaAtPoint, other: ReadonlySet<string>, word: string): string[] =>
    schema.statements.map(textOf).flatMap((sql) => (other.has(sql) || isTold(sql) ? [] : [`${word}: ${sql}`]))
  return [...alone(newest, was!, 'the newer alone'), ...alone(older, is!, 'the older alone')]
}

/** @param except tables that the restore to the point was without */
export async function readingsAgree(
  repository: Repository,
  at: string,
  except: readonly string[],
): Promise<string[]> {
  const point = await resolvePoint(repository, parsePoint(at))
  const { generation } = point
  const readings = new SchemaReadings(repository, generation)
  const untold: string[] = []
  for (const entry of generation.schemas)
    if (entry.body.untold !== undefined) untold.push(...((await readings.untold(entry)) ?? []))
  const planned = (count: number, without: readonly string[]): Promise<RestorePlan> =>
    planRestore(repository, postgresDialect, { ...point, generation: withFirst(generation, count) }, without)
  const { schema: newest, excluded } = await planned(generation.schemas.length, except)
  const found = new Set<string>()
  for (let count = generation.schemas.length - 1; count > 0; count--) {
    const { schema: one } = await planned(count, excluded)
    if (one.notes.some((note) => note.startsWith('no reading of the schema is older'))) break
    const said = [...untold, ...newest.notes, ...one.notes, ...one.leftOut.map(({ object }) => object)].join(
      ' ',
    )
    const words = new Set(said.split(/[^\w$]+/))
    // The server says no object of these.
    const defaults = said.includes('ALTER DEFAULT PRIVILEGES of ')
    const isTold = (sql: string): boolean =>
      (defaults && sql.startsWith('ALTER DEFAULT PRIVILEGES ')) ||
      [newest, one].some(({ statements }) =>
        statements.some(
          (statement) =>
            textOf(statement) === sql &&
            statement.objects.some(({ name, table }) => words.has(table ?? name) || words.has(name)),
        ),
      )
    for (const line of differences(newest, one, isTold)) found.add(line)
  }
  return [...found]
}
