/**
 * Ledger entries: their kinds, their bytes, their signatures.
 * A file has two lines. The first is the entry as canonical JSON (RFC 8785); the second names the signer and holds the
 * Ed25519 signature over the bytes of the first. What is parsed is the very line that was verified, and a line that is
 * not canonical is refused, so duplicate keys have no second reading (hazard 101). The chain is over whole files.
 */
import { createHash } from 'node:crypto'
import canonicalizeModule from 'canonicalize'
import { z } from 'zod'
import { TidemarkError } from '../core/errors.ts'
import { count, damagedObject, hash, instant, loggedPlace, logPlace, oid, resume } from './entry-fields.ts'
import { inFormat2 } from './format-1.ts'
import { ofResealedKey, position, storedObject } from './entry-fields.ts'
import { openSignedLine, type Signer, type SignerKeys, signLine } from './signed-line.ts'

const canonicalize = canonicalizeModule as unknown as (value: unknown) => string | undefined

/** An object and the epoch key that it is sealed under. */
export const sealedObject = storedObject.extend({ key: z.string() })
/** With changes; `bytes` of a table: before compression, of all its blocks. */
export const segmentObject = sealedObject.extend({
  tables: z.array(z.object({ oid, rows: count, bytes: count })),
})
/** The reading has every change up to `head`; in `untold` (from, to] something changed that no record tells: its object says what. */
const ofReading = { head: position.optional(), untold: z.object({ from: position, to: position }).optional() }
const table = { oid, schema: z.string(), name: z.string() }
const gapScope = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('stream') }),
  z.object({ kind: z.literal('table'), ...table }),
])
const signer = z.object({ id: z.string(), role: z.enum(['writer', 'keeper']), publicKey: z.string() })
/**
 * Where a backup begins: everything that only points before it need is gone, or goes. Told by names alone (`repository/floor.ts`), so
 * that whoever meets an object knows whether it is to be there.
 */
export const floor = z.object({
  generation: z.int(),
  /** The oldest base that stays, and the `from` of the oldest segments that do. */
  base: z.uuid(),
  before: position,
  /** The oldest reading of the schema that stays. */
  schemasFrom: position,
  /** Copies of tables, by their base's or gap's id, that do not stay. */
  gone: z.array(z.uuid()),
  /** Numbers of entries: the ledger's index before them is superseded. */
  roots: count,
  pages: count,
  /** The DDL records of the segments that do not stay, of this generation. */
  ddl: sealedObject.nullable(),
})

export const entryBody = z.discriminatedUnion('kind', [
  z.object({
    kind: z.literal('genesis'),
    stream: z.uuid(),
    signers: z.array(signer),
    recipients: z.array(z.string()),
    /** Absent in backups that began with format 1. */
    format: z.literal(2).exactOptional(),
  }),
  /**
   * From here on there may be what only this format has. Written before the first of it, so that a program that knows less stops
   * here, with LEDGER_UNKNOWN, before it takes anything for something else.
   */
  z.object({ kind: z.literal('format'), format: z.literal(2) }),
  z.object({
    kind: z.literal('generation'),
    generation: z.int().positive(),
    engine: z.string(),
    /** What only the engine understands: which database it is, and what names its stream. */
    origin: z.record(z.string(), z.union([z.string(), z.number()])),
    database: z.string(),
    encoding: z.string(),
    serverVersion: z.int(),
    timeline: z.int(),
    consistentPoint: position,
    resume,
    /** The first transaction id that was not yet given out at the consistent point. */
    firstTransaction: z.string(),
    reason: z.string(),
  }),
  z.object({ kind: z.literal('claim'), lane: z.int(), term: z.int().positive(), writer: z.uuid() }),
  z.object({
    kind: z.literal('key'),
    key: z.string(),
    object: storedObject,
    recipients: z.array(z.string()),
    ...ofResealedKey,
  }),
  z.object({
    kind: z.literal('schema'),
    generation: z.int(),
    at: position,
    snapshot: z.string(),
    /** Names the reading, for the changes that continue it; of before there is none. */
    reading: z.uuid().optional(),
    /** Over its statements. */
    digest: hash.optional(),
    ...ofReading,
    object: sealedObject,
  }),
  /** A reading of the schema as what changed since another one. */
  z.object({
    kind: z.literal('schema-change'),
    generation: z.int(),
    at: position,
    snapshot: z.string(),
    reading: z.uuid(),
    since: z.uuid(),
    digest: hash,
    ...ofReading,
    object: sealedObject,
  }),
  z.object({
    kind: z.literal('segments'),
    generation: z.int(),
    lane: z.int(),
    term: z.int(),
    timeline: z.int(),
    /** Exclusive: the `to` of the entry before. */
    from: position,
    /** Of the last whole transaction. */
    to: position,
    /** Where the last transaction ends: may be acknowledged once this entry is durable. */
    end: position,
    resume,
    transactions: count,
    changes: count,
    rawBytes: count,
    firstCommittedAt: instant,
    lastCommittedAt: instant,
    /** Commit times are not monotonic: the greatest in the entry. */
    latestCommittedAt: instant,
    hasDdl: z.boolean(),
    /** Up to here the source's catalog was found to agree with its DDL records; null where it was not looked at. */
    checked: position.nullable(),
    log: logPlace.default(null),
    objects: z.array(segmentObject),
    index: sealedObject,
  }),
  /** A sample of sequences behind the last cut; otherwise samples stand in a cut's index. */
  z.object({
    kind: z.literal('sequences'),
    generation: z.int(),
    at: position,
    checked: position.nullable(),
    object: sealedObject,
  }),
  z.object({
    kind: z.literal('heartbeat'),
    generation: z.int(),
    lane: z.int(),
    term: z.int(),
    timeline: z.int(),
    end: position,
    resume,
    /** By the source's clock: every commit that it stamped up to then lies below `end`. */
    asOf: instant.exactOptional(),
  }),
  z.object({
    kind: z.literal('table'),
    generation: z.int(),
    base: z.uuid(),
    ...table,
    position,
    shape: z.string(),
    rows: count,
    rawBytes: count,
    parts: z.array(sealedObject.extend({ rows: count })),
    /** Names a sealed object with the table's columns as the catalog had them. */
    version: sealedObject,
  }),
  z.object({
    kind: z.literal('base'),
    generation: z.int(),
    base: z.uuid(),
    from: position,
    closing: position,
    tables: z.array(z.object({ oid, entry: count })),
    dropped: z.array(oid),
    rows: count,
    bytes: count,
    /** By the source's clock, behind its last copy: every commit that is in it was stamped before. */
    closedAt: instant.exactOptional(),
  }),
  z.object({ kind: z.literal('marker'), generation: z.int(), at: position, name: z.string() }),
  z.object({
    kind: z.literal('gap'),
    generation: z.int(),
    id: z.uuid(),
    from: position,
    to: position.nullable(),
    reason: z.string(),
    scope: gapScope,
  }),
  z.object({ kind: z.literal('gap-closed'), generation: z.int(), id: z.uuid(), at: position }),
  z.object({
    kind: z.literal('attestation'),
    generation: z.int(),
    at: position,
    equal: z.boolean(),
    tables: z.array(z.object({ ...table, rows: count, digest: z.string() })),
  }),
  /** The change log begins anew at a place: what it held before was lost, and the source sends everything behind the store's end again. */
  z.object({
    kind: z.literal('lanes'),
    generation: z.int(),
    log: loggedPlace,
    reason: z.string(),
    /** What the log has before it counts: only the place is said anew. */ goesOn: z.literal(true).optional(),
  }),
  /**
   * What the ledger says with this entry, in one object (formats/checkpoint.ts); `pages` hold the segments and sequences
   * entries numbered `from` to `to` that stood in no page before. The entry directly before is the last one it knows.
   */
  z.object({
    kind: z.literal('checkpoint'),
    root: storedObject,
    pages: z.array(z.object({ generation: z.int(), from: count, to: count, object: storedObject })),
  }),
  /** From the next entry on the added ones may sign, and the retired ones may not. */
  z.object({ kind: z.literal('signers'), add: z.array(signer), retire: z.array(z.string()) }),
  /** A copy was promoted: from here on its entries count, and not what another store has behind the shared one. */
  z.object({
    kind: z.literal('lineage'),
    lineage: z.int().min(2),
    shared: z.object({ number: count, hash }),
  }),
  /** Entries go on in a lineage of their own, around what no signer wrote: a writer's to write, for it passes over no entry. */
  z.object({
    kind: z.literal('detour'),
    lineage: z.int().min(2),
    shared: z.object({ number: count, hash }),
    /** SHA-256 of what is passed over. */
    garbage: hash,
  }),
  /** What a store had of an older lineage, and set aside. */
  z.object({
    kind: z.literal('orphans'),
    place: z.string(),
    lineage: z.int(),
    from: count,
    to: count,
    /** Of the last one. */ hash,
  }),
  /** Points from `from` to `to` of a generation stay restorable: until an instant, or until it is released. */
  z.object({
    kind: z.literal('hold'),
    id: z.uuid(),
    purpose: z.enum(['legal', 'restore']),
    reason: z.string(),
    generation: z.int(),
    from: position,
    to: position.nullable(),
    until: instant.nullable(),
  }),
  z.object({ kind: z.literal('hold-released'), id: z.uuid() }),
  /** The backup begins later from here on; the objects stay until `removeAfter`, and until then it can be undone. */
  z.object({
    kind: z.literal('retire'),
    id: z.uuid(),
    floor,
    objects: count,
    bytes: count,
    removeAfter: instant,
  }),
  z.object({ kind: z.literal('retire-undone'), id: z.uuid() }),
  /** The objects below the floor go. */
  z.object({ kind: z.literal('removed'), id: z.uuid() }),
  /** In a store, everything that entries up to `upTo` name is locked until an instant. */
  z.object({ kind: z.literal('locks'), place: z.string(), upTo: count, until: instant }),
  /** One share of the objects was looked at in every store of the set. */
  z.object({
    kind: z.literal('scrub'),
    part: z.int(),
    parts: z.int(),
    objects: count,
    mended: count,
    lost: count,
    left: count,
    away: z.array(z.string()),
  }),
  /** What was found damaged in a store and could not be mended; and what was, and is right again. */
  z.object({
    kind: z.literal('damage'),
    found: z.array(damagedObject),
    intact: z.array(z.string()),
    /** How many more were found than are named. */
    more: z.int().nonnegative(),
  }),
  z.object({ kind: z.literal('audit'), command: z.string(), operator: z.string(), what: z.string() }),
])

export type EntryBody = z.infer<typeof entryBody>
export type EntryKind = EntryBody['kind']
export type EntryOf<K extends EntryKind> = Extract<EntryBody, { kind: K }>
export type SealedRef = z.infer<typeof sealedObject>
export type FloorText = z.infer<typeof floor>

const frame = z.object({
  version: z.literal(1),
  number: count,
  previous: hash.nullable(),
  writtenAt: instant,
  ignorable: z.boolean(),
})

export interface LedgerEntry {
  readonly number: bigint
  readonly previous: string | null
  readonly writtenAt: string
  readonly signer: string
  readonly body: EntryBody
  /** SHA-256 of the file, and its length. */
  readonly hash: string
  readonly bytes: number
}

export interface NumberedEntry<K extends EntryKind> {
  readonly number: bigint
  readonly writtenAt: string
  readonly body: EntryOf<K>
}

/** Kinds that a reader of this version may pass over when it does not know them are marked so in the entry. */
const IGNORABLE: ReadonlySet<EntryKind> = new Set([
  'audit',
  'attestation',
  'checkpoint',
  'locks',
  'scrub',
  'damage',
  'orphans',
])

/** Whether two entries say the same, in whatever order their fields stand. */
export function isSameBody(a: EntryBody, b: EntryBody): boolean {
  return canonicalize(a) === canonicalize(b)
}

export function hashBytes(...pieces: readonly Uint8Array[]): string {
  const hash = createHash('sha256')
  for (const piece of pieces) hash.update(piece)
  return hash.digest('hex')
}

export function encodeEntry(
  number: bigint,
  previous: string | null,
  writtenAt: string,
  body: EntryBody,
  signer: Signer,
): Buffer {
  return signLine(
    { version: 1, number: number.toString(), previous, writtenAt, ignorable: IGNORABLE.has(body.kind), body },
    signer,
  )
}

/** What an entry of an unknown but ignorable kind becomes. */
export interface IgnoredEntry extends Omit<LedgerEntry, 'body'> {
  readonly body: undefined
}

/**
 * Verifies and parses one entry's file.
 *
 * @param previous hash of the entry before; null for the first, undefined where the signature alone is to be proven
 * @param signers the keys that may sign, by id, and which entries
 * @throws TidemarkError LEDGER_BROKEN (signature, form, number, chain), LEDGER_UNKNOWN (a kind that may not be passed over)
 */
export function decodeEntry(
  file: Buffer,
  number: bigint,
  previous: string | null | undefined,
  signers: SignerKeys,
): LedgerEntry | IgnoredEntry {
  const broken = (what: string, cause?: unknown): TidemarkError =>
    new TidemarkError('LEDGER_BROKEN', `ledger entry ${number}: ${what}`, { cause })
  const { json, signer } = openSignedLine(file, signers, broken)
  const framed = frame.safeParse(json)
  if (!framed.success) throw broken('its frame is not understood')
  if (framed.data.number !== number.toString()) throw broken(`it carries the number ${framed.data.number}`)
  if (previous !== undefined && framed.data.previous !== previous)
    throw broken('it does not continue the entry before it')
  const kind = (json as { body?: { kind?: unknown } }).body?.kind
  const refusal = signers.refusal(signer, number, typeof kind === 'string' ? kind : undefined)
  if (refusal !== undefined) throw broken(`${signer.slice(0, 40)} ${refusal}`)
  const common = {
    number,
    previous: framed.data.previous,
    writtenAt: framed.data.writtenAt,
    signer,
    hash: hashBytes(file),
    bytes: file.length,
  }
  const body = entryBody.safeParse(inFormat2((json as { body: unknown }).body))
  if (body.success) return { ...common, body: body.data }
  if (framed.data.ignorable) return { ...common, body: undefined }
  throw new TidemarkError(
    'LEDGER_UNKNOWN',
    `ledger entry ${number} is of a kind or form that this version does not know`,
  )
}
