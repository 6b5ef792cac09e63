/** Joins what engines declare of errors into the one table; complete by its type. Imported for that by whoever may meet such an error. */
import { joinCodes } from '../../core/error-codes.ts'
import { POSTGRES_CODES } from '../../engines/postgres/session/postgres-codes.ts'

joinCodes({ ...POSTGRES_CODES })
