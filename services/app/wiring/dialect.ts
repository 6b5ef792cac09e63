/** Which engine's dialect a backup is read by. */
import { postgresDialect } from '../../engines/postgres/dialect/postgres-dialect.ts'
import type { Dialect } from '../../core/ports/dialect.ts'

/** There is one engine so far; a backup of another will say so in its ledger. */
export const backupDialect: Dialect = postgresDialect
