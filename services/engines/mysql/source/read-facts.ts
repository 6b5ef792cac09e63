/** The schema with the place in the log that it is as of. */
import type { Randomness } from '../../../core/clock.ts'
import { TidemarkError } from '../../../core/errors.ts'
import { positionText } from '../../../core/position.ts'
import type { SchemaFacts, SchemaStatement } from '../../../core/transaction.ts'
import { readExecuted } from '../binlog/executed.ts'
import { readSchema } from '../catalog/read-schema.ts'
import type { ExecutedGtids } from '../events/gtid.ts'
import { endOfNumber, numberOf } from '../events/numbering.ts'
import { connect } from '../session/connect.ts'

const TRIES = 20

/**
 * Read until two readings are the same: then it was so at the place between them.
 *
 * @param origin undefined where the generation begins here. @throws TidemarkError SOURCE_UNREACHABLE
 */
export async function readFacts(
  url: string,
  database: string,
  origin: ExecutedGtids | undefined,
  randomness: Randomness,
): Promise<SchemaFacts & { readonly reading: string }> {
  const session = await connect(url)
  try {
    let before = await readSchema(session, database)
    for (let i = 0; i < TRIES; i++) {
      const executed = await readExecuted(session)
      const after = await readSchema(session, database)
      const number = numberOf(executed, origin ?? executed)
      if (textOf(before.statements) === textOf(after.statements))
        return {
          reading: randomness.uuid(),
          snapshot: `${number + 1n}:${number + 1n}:`,
          ddlSeen: [],
          statements: after.statements,
          notes: after.notes,
          head: positionText(endOfNumber(number)),
        }
      before = after
    }
    throw new TidemarkError('SOURCE_UNREACHABLE', `the schema kept being altered during ${TRIES} readings`)
  } finally {
    await session.connection.end().catch(() => undefined)
  }
}

function textOf(statements: readonly SchemaStatement[]): string {
  return JSON.stringify(statements)
}
