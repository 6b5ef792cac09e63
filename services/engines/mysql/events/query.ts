/** QUERY events: a statement as text, with what its session had set (MySQL, libbinlogevents/statement_events.h; MariaDB, sql/log_event.h). */
import { TidemarkError } from '../../../core/errors.ts'
import { ByteCursor } from './byte-cursor.ts'
import { unpacked } from './packed.ts'

export interface QueryEvent {
  /** The session's database; empty where it had none. */
  readonly database: string
  /** In the character set that `collations.client` names. */
  readonly sql: Buffer
  readonly session: SessionVariables
}

/** As far as the server writes them: what a statement means depends on them. */
interface SessionVariables {
  readonly sqlMode?: bigint
  /** Numbers of collations. */
  readonly collations?: { readonly client: number; readonly connection: number; readonly server: number }
  readonly databaseCollation?: number
  readonly timeZone?: string
  readonly foreignKeyChecks?: boolean
  readonly uniqueChecks?: boolean
  readonly explicitDefaultsForTimestamp?: boolean
  readonly utf8mb4Collation?: number
  readonly increment?: { readonly by: number; readonly offset: number }
}

/** Bits of the session's options that the log has (MySQL, OPTIONS_WRITTEN_TO_BIN_LOG). */
const OPTION = { noForeignKeyChecks: 1 << 26, relaxedUniqueChecks: 1 << 27 } as const

type Writable = { -readonly [K in keyof SessionVariables]: SessionVariables[K] }

/** @param isPacked MariaDB's compressed form. @throws TidemarkError PROTOCOL */
export function readQuery(body: Buffer, isPacked: boolean): QueryEvent {
  const cursor = new ByteCursor(body)
  cursor.take(8)
  const databaseBytes = cursor.uint8()
  cursor.take(2)
  const variables = new ByteCursor(cursor.slice(cursor.uint(2)))
  const database = cursor.text(databaseBytes)
  cursor.take(1)
  const rest = cursor.rest()
  return { database, sql: isPacked ? unpacked(rest) : rest, session: readVariables(variables) }
}

function readVariables(cursor: ByteCursor): SessionVariables {
  const found: Writable = {}
  while (cursor.left > 0) if (!readVariable(cursor, found)) break
  return found
}

type Reader = (cursor: ByteCursor, found: Writable) => void
const skip =
  (length: number): Reader =>
  (cursor) =>
    void cursor.take(length)
const skipText: Reader = (cursor) => void cursor.take(cursor.uint8())

/** By code; each says how long it is, so all of them have to be known up to the last that is wanted. */
const READERS: Readonly<Record<number, Reader>> = {
  0: (cursor, found) => {
    const options = cursor.uint(4)
    found.foreignKeyChecks = (options & OPTION.noForeignKeyChecks) === 0
    found.uniqueChecks = (options & OPTION.relaxedUniqueChecks) === 0
  },
  1: (cursor, found) => {
    found.sqlMode = cursor.uint64()
  },
  2: (cursor) => void cursor.take(cursor.uint8() + 1),
  3: (cursor, found) => {
    found.increment = { by: cursor.uint(2), offset: cursor.uint(2) }
  },
  4: (cursor, found) => {
    found.collations = { client: cursor.uint(2), connection: cursor.uint(2), server: cursor.uint(2) }
  },
  5: (cursor, found) => {
    found.timeZone = cursor.text(cursor.uint8())
  },
  6: skipText,
  7: skip(2),
  8: (cursor, found) => {
    found.databaseCollation = cursor.uint(2)
  },
  9: skip(8),
  10: skip(4),
  11: (cursor, found) => {
    skipText(cursor, found)
    skipText(cursor, found)
  },
  12: (cursor) => {
    const count = cursor.uint8()
    // 254: more than are named.
    if (count !== 254) for (let i = 0; i < count; i++) while (cursor.uint8() !== 0);
  },
  13: skip(3),
  16: (cursor, found) => {
    found.explicitDefaultsForTimestamp = cursor.uint8() !== 0
  },
  17: skip(8),
  18: (cursor, found) => {
    found.utf8mb4Collation = cursor.uint(2)
  },
  19: skip(1),
  20: skip(1),
  128: skip(3),
  129: skip(8),
}

/** False where the code is not known: newer servers add theirs behind the others. */
function readVariable(cursor: ByteCursor, found: Writable): boolean {
  const reader = READERS[cursor.uint8()]
  reader?.(cursor, found)
  return reader !== undefined
}

/** The statement's first words, for telling what kind it is. @throws TidemarkError PROTOCOL where it is none */
export function openingWords(sql: Buffer): string {
  const text = sql
    .toString('latin1')
    .replace(/^(?:\s+|\/\*(?!!)[\s\S]*?\*\/|--[^\n]*\n|#[^\n]*\n)+/, '')
    .slice(0, 200)
  if (text === '') throw new TidemarkError('PROTOCOL', 'the binlog has a statement without words')
  return text.toUpperCase().replace(/\s+/g, ' ')
}
