/** Rules that rows of the source break come back as the source had them: for new rows only (NOT VALID). */
import type { SchemaStatement } from '../core/transaction.ts'
import type { SchemaMaker } from './schema-maker.ts'
import { unmadeOf } from './unmade.ts'

const NOT_NULL =
  /^(ALTER TABLE ONLY "(?:[^"]|"")+"\."(?:[^"]|"")+") ALTER COLUMN ("(?:[^"]|"")+") SET NOT NULL$/
const VALIDATE = /^ALTER (?:TABLE|DOMAIN) .* VALIDATE CONSTRAINT ("(?:[^"]|"")+")$/s
const PARTITIONED_KEY =
  /^ALTER TABLE (?:ONLY )?"(?:[^"]|"")+"\."(?:[^"]|"")+" ADD CONSTRAINT "(?:[^"]|"")+" FOREIGN KEY .*(?<! NOT VALID)$/s

/** Takes such refusals out of the rounds, puts the unchecked form in their place and tells it. */
export async function acceptUnchecked(maker: SchemaMaker): Promise<void> {
  // A constraint that is not there at all (42704) is told by the statement that was to make it.
  const broken = maker.take(
    ({ state, statement: { sql } }) =>
      NOT_NULL.test(sql) || (VALIDATE.test(sql) && state !== '42704') || PARTITIONED_KEY.test(sql),
  )
  for (const refusal of broken) {
    const { statement, reason } = refusal
    const notNull = NOT_NULL.exec(statement.sql)
    if (notNull !== null) {
      const [, table = '', column = ''] = notNull
      // Only servers that know it (18) can have had such rows under it.
      const form: SchemaStatement = { ...statement, sql: `${table} ADD NOT NULL ${column} NOT VALID` }
      if ((await maker.one(form)) === undefined)
        maker.note(
          `column ${column} of ${table.slice('ALTER TABLE ONLY '.length)}: NOT NULL is NOT VALID, rows have nulls`,
        )
      else maker.tell(unmadeOf(statement, reason, 'a column that takes nulls'))
    } else if (VALIDATE.test(statement.sql)) {
      maker.tell(unmadeOf(statement, reason, 'the constraint is there as NOT VALID: new rows are checked'))
    } else {
      const form: SchemaStatement = { ...statement, sql: `${statement.sql} NOT VALID` }
      const made = refusal.state === '23503' && (await maker.one(form)) === undefined
      maker.tell(unmadeOf(statement, reason, made ? 'the constraint is there as NOT VALID' : null))
    }
  }
}
