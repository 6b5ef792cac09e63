/** Rules that rows of the source break, as rules for new rows alone: NOT VALID. */
import type { RuleForNewRows } from '../../../core/ports/dialect.ts'
import type { Refusal } from '../../../core/ports/target.ts'

const NOT_NULL =
  /^(ALTER TABLE ONLY "(?:[^"]|"")+"\."(?:[^"]|"")+") ALTER COLUMN ("(?:[^"]|"")+") SET NOT NULL$/
const VALIDATE = /^ALTER (?:TABLE|DOMAIN) .* VALIDATE CONSTRAINT ("(?:[^"]|"")+")$/s
const PARTITIONED_KEY =
  /^ALTER TABLE (?:ONLY )?"(?:[^"]|"")+"\."(?:[^"]|"")+" ADD CONSTRAINT "(?:[^"]|"")+" FOREIGN KEY .*(?<! NOT VALID)$/s

export function ruleForNewRows({ statement, state }: Refusal): RuleForNewRows | undefined {
  const { sql } = statement
  const notNull = NOT_NULL.exec(sql)
  if (notNull !== null) {
    const [, table = '', column = ''] = notNull
    return {
      // Only servers that know it (18) can have had such rows under it.
      statement: { ...statement, sql: `${table} ADD NOT NULL ${column} NOT VALID` },
      note: `column ${column} of ${table.slice('ALTER TABLE ONLY '.length)}: NOT NULL is NOT VALID, rows have nulls`,
      made: null,
      unmade: 'a column that takes nulls',
    }
  }
  if (VALIDATE.test(sql))
    // A constraint that is not there at all (42704) is told by the statement that was to make it.
    return state === '42704'
      ? undefined
      : { ...NOTHING_TO_RUN, unmade: 'the constraint is there as NOT VALID: new rows are checked' }
  // 23503 is a row that breaks it: what is refused for another reason is no matter of rows.
  if (state !== '23503' || !PARTITIONED_KEY.test(sql)) return undefined
  return {
    statement: { ...statement, sql: `${sql} NOT VALID` },
    note: undefined,
    made: 'the constraint is there as NOT VALID',
    unmade: null,
  }
}

const NOTHING_TO_RUN = { statement: undefined, note: undefined, made: null } as const
