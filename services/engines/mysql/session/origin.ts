/** What a generation says of its source: which server and database it is, and where its numbers begin. */
import { z } from 'zod'
import { TidemarkError } from '../../../core/errors.ts'
import type { SourceOrigin } from '../../../core/ports/source.ts'

export const MYSQL = 'mysql'

const origin = z.object({
  server: z.string(),
  flavour: z.enum(['mysql', 'mariadb']),
  database: z.string(),
  /** What was executed before its first transaction. */
  gtids: z.string(),
})
export type Origin = z.infer<typeof origin>

/** Which database it is, of a source that has no generation as well. */
export function databaseIdOf({ server, database }: SourceOrigin): Pick<Origin, 'server' | 'database'> {
  return { server: String(server), database: String(database) }
}

/** @throws TidemarkError LEDGER_BROKEN */
export function originOf(told: SourceOrigin): Origin {
  const parsed = origin.safeParse(told)
  if (!parsed.success)
    throw new TidemarkError('LEDGER_BROKEN', 'the ledger does not say which MySQL server its source is')
  return parsed.data
}
