/** Which engine's dialect a backup is read by: its ledger says which engine it is of. */
import type { Dialect } from '../../core/ports/dialect.ts'
import { TidemarkError } from '../../core/errors.ts'
import { MEMORY, memoryDialect } from '../../engines/memory/memory-dialect.ts'
import { mysqlDialect } from '../../engines/mysql/dialect/mysql-dialect.ts'
import { MYSQL } from '../../engines/mysql/session/origin.ts'
import { postgresDialect } from '../../engines/postgres/dialect/postgres-dialect.ts'
import { POSTGRES } from '../../engines/postgres/session/origin.ts'

const DIALECTS: Readonly<Record<string, Dialect>> = {
  [POSTGRES]: postgresDialect,
  [MYSQL]: mysqlDialect,
  [MEMORY]: memoryDialect,
}

/** By the scheme of a URL. */
export function engineAt(url: string): string {
  return /^(mysql|mariadb):/i.test(url) ? MYSQL : POSTGRES
}

/** @throws TidemarkError LEDGER_UNKNOWN where a newer program wrote it */
export function dialectOf(engine: string): Dialect {
  const dialect = DIALECTS[engine]
  if (dialect === undefined)
    throw new TidemarkError('LEDGER_UNKNOWN', `the backup is of an engine that is not known here: ${engine}`)
  return dialect
}
