/** Fields that entries of the ledger and its checkpoints share. */
import { z } from 'zod'

export const position = z.string().regex(/^[0-9A-F]{1,8}\/[0-9A-F]{1,8}$/)
export const count = z.string().regex(/^[0-9]{1,20}$/)
export const hash = z.string().regex(/^[0-9a-f]{64}$/)
export const instant = z.iso.datetime()
export const oid = z.int().nonnegative()

export const storedObject = z.object({ name: z.string(), bytes: count, sha256: hash })
/** Of an epoch key that was sealed anew; `recipients` are then all who can open one of its objects. Absent in older entries. */
export const ofResealedKey = {
  made: instant.exactOptional(),
  /** Who can open the newest object. */
  sealedFor: z.array(z.string()).exactOptional(),
  /** The objects before it. */
  older: z.array(storedObject).exactOptional(),
}

export const damagedObject = z.object({
  object: z.string(),
  /** Number of the entry that names it. */
  entry: count,
  /** What it covers, for people. */
  range: z.string(),
  /** The last position that it is for; null for keys and entries of the ledger. */
  until: position.nullable(),
  /** Some store of the set has it right. */
  elsewhere: z.boolean(),
  what: z.string(),
})

export type StoredObject = z.infer<typeof storedObject>
export type DamagedObject = z.infer<typeof damagedObject>

/** Where the change log has what comes next; null where the log keeps nothing. */
export const loggedPlace = z.object({
  log: z.string(),
  from: count,
  at: count,
  /** Units of writers with a lower term are passed over: the log began anew. */ since: count.default('0'),
  /** What lay at `at`. */ unit: z.string().default(''),
  /** From here on units have the stream's id. */ idsFrom: count.optional(),
})
export const logPlace = loggedPlace.nullable()
/** What the engine said beside a position that its stream may go on from: a text of its own. */
export const resume = z.string().exactOptional()
