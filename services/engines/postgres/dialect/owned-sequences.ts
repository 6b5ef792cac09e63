/**
 * Sequences that a column owns. The server keeps their owner that of the table: ALTER TABLE … OWNER TO takes them along, and
 * no record tells it of each sequence. So what was read of one before has the owner that the table had then.
 */
import type { SchemaStatement } from '../../../core/transaction.ts'

const NAME = '"(?:[^"]|"")+"'
const WORD = `${NAME}|[^\\s."(]+`
const TABLE_OWNER = new RegExp(`^ALTER (?:FOREIGN )?TABLE (${NAME})\\.(${NAME}) OWNER TO (${NAME})$`)
const SEQUENCE_OWNER = new RegExp(`^ALTER SEQUENCE (${NAME}\\.${NAME}) OWNER TO (${NAME})$`)
const OWNED_BY = new RegExp(
  `^ALTER SEQUENCE (${NAME}\\.${NAME}) OWNED BY (${WORD})\\.(${WORD})\\.(?:${WORD})$`,
)
const SEQUENCE_RIGHTS = new RegExp(
  `^(?:SET ROLE \\S+; )?(?:GRANT|REVOKE) .* ON SEQUENCE (${NAME}\\.${NAME}) `,
  's',
)

export const isOwnedBy = (s: SchemaStatement): boolean => OWNED_BY.test(s.sql)

/**
 * Gives each owned sequence to its table's owner, together with the rights that its own owner had, as the server does. It
 * says no owner of it then: the table's own statement moves it.
 */
export function ownedByTables(statements: readonly SchemaStatement[]): SchemaStatement[] {
  const owners = new Map<string, string>()
  const tables = new Map<string, string>()
  const owned = new Map<string, string>()
  for (const { sql } of statements) {
    const [, schema, table, owner] = TABLE_OWNER.exec(sql) ?? []
    if (owner !== undefined) tables.set(`${unquoted(schema!)}.${unquoted(table!)}`, owner)
    const [, sequence, ownerOfSequence] = SEQUENCE_OWNER.exec(sql) ?? []
    if (ownerOfSequence !== undefined) owners.set(sequence!, ownerOfSequence)
    const [, name, inSchema, of] = OWNED_BY.exec(sql) ?? []
    if (of !== undefined) owned.set(name!, `${unquoted(inSchema!)}.${unquoted(of)}`)
  }
  return statements.flatMap((s) => {
    const [, named] = SEQUENCE_OWNER.exec(s.sql) ?? SEQUENCE_RIGHTS.exec(s.sql) ?? []
    // Without its table it stays what it was.
    const owner = named === undefined ? undefined : tables.get(owned.get(named) ?? '')
    if (named === undefined || owner === undefined) return [s]
    if (SEQUENCE_OWNER.test(s.sql)) return []
    const before = owners.get(named)
    return [before === undefined || before === owner ? s : { ...s, sql: givenTo(s.sql, before, owner) }]
  })
}

/** A GRANT or REVOKE of one owner's as another's. */
function givenTo(sql: string, before: string, owner: string): string {
  const role = before.replaceAll(/[^\w]/g, '\\$&')
  return sql.replaceAll(
    new RegExp(`( FROM | TO |SET ROLE )${role}(?![^ ;])`, 'g'),
    (_, word: string) => word + owner,
  )
}

export function unquoted(name: string): string {
  return name.startsWith('"') ? name.slice(1, -1).replaceAll('""', '"') : name
}
