/** What a ledger says of a PostgreSQL source beside what every engine has. */
import { z } from 'zod'
import type { SourceOrigin } from '../../../core/ports/source.ts'

export const POSTGRES = 'postgres'

/** `systemId` of pg_control_system(); a database's OID is its own inside that system. */
const databaseFields = z.object({ systemId: z.string(), databaseOid: z.number() })
const names = z.object({ slot: z.string(), publication: z.string() })

export type DatabaseId = z.infer<typeof databaseFields>
export type StreamNames = z.infer<typeof names>

export function databaseOf(origin: SourceOrigin): DatabaseId {
  return databaseFields.parse(origin)
}

/** Of a backup's source. */
export function streamOf(origin: SourceOrigin): StreamNames {
  return names.parse(origin)
}

/** Undefined of a source that is known by its URL alone. */
export function namesOf(origin: SourceOrigin | undefined): StreamNames | undefined {
  return names.safeParse(origin).data
}
