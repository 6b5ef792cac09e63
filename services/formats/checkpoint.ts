/**
 * Checkpoints of the ledger: a *root* says what the ledger says up to and with its checkpoint entry, and names immutable
 * *pages* that hold the entries of the long kinds (segments, sequences). Both are clear, like the ledger itself: JSON,
 * zstd. What they say can be worked out again from the entries; `verify` does.
 */
import { zstdCompressSync, zstdDecompressSync } from 'node:zlib'
import { z } from 'zod'
import { TidemarkError } from '../core/errors.ts'
import {
  count,
  damagedObject,
  hash,
  instant,
  logPlace,
  oid,
  position,
  resume,
  storedObject,
} from './entry-fields.ts'
import { inFormat2 } from './format-1.ts'
import { entryBody, type EntryBody, hashBytes, type NumberedEntry } from './ledger-entry.ts'

/** Of the kinds that stand in pages: those that a running backup writes without end. */
export type PagedEntry = NumberedEntry<'segments'> | NumberedEntry<'sequences'>

const numbered = z.object({
  number: count,
  writtenAt: instant,
  body: z.preprocess(inFormat2, entryBody),
})

/** Sums of a page's segments entries, so that most questions need no page. */
const pageSummary = z.object({
  /** Numbers of its first and last entry. */
  from: count,
  to: count,
  object: storedObject,
  /** SHA-256 of what its entries say, by whoever summed them up. Pages of before have none. */
  content: hash.optional(),
  segments: z.int(),
  /** Positions: exclusive, inclusive, and the end of the last transaction. */
  range: z.object({ from: position, to: position, end: position }),
  firstCommittedAt: instant.nullable(),
  latestCommittedAt: instant.nullable(),
  hasDdl: z.boolean(),
  changes: count,
  bytes: count,
  keys: z.array(z.string()),
  tables: z.array(z.object({ oid, rows: count, bytes: count })),
})

const checkpointRoot = z.object({
  version: z.literal(1),
  stream: z.uuid(),
  /** Absent in those of format 1. */
  format: z.literal(2).exactOptional(),
  /** Number and chain hash of the entry before the checkpoint entry. */
  number: count,
  hash,
  claims: z.array(z.object({ lane: z.int(), term: z.int(), writer: z.uuid() })),
  /** Every entry of the other kinds that still says something, as it was written. */
  entries: z.array(numbered),
  /** What is known to be damaged; absent where nothing is, and in older checkpoints. */
  damage: z.object({ found: z.array(damagedObject), more: z.int() }).exactOptional(),
  generations: z.array(
    z.object({
      generation: z.int(),
      to: position,
      end: position,
      checked: position,
      resume,
      log: logPlace,
      lastWrittenAt: instant,
      /** Absent in older checkpoints. */
      asOf: instant.exactOptional(),
      /** Absent in older checkpoints. */
      timeline: z.int().exactOptional(),
      last: numbered.nullable(),
      pages: z.array(pageSummary),
    }),
  ),
})

export type PageSummary = z.infer<typeof pageSummary>
export type CheckpointRoot = z.infer<typeof checkpointRoot>
export type StoredEntry = z.infer<typeof numbered>

export function storedEntry(entry: {
  readonly number: bigint
  readonly writtenAt: string
  readonly body: EntryBody
}): StoredEntry {
  return { number: entry.number.toString(), writtenAt: entry.writtenAt, body: entry.body }
}

export function encodeRoot(root: CheckpointRoot): Buffer {
  return zstdCompressSync(Buffer.from(JSON.stringify(root), 'utf8'))
}

/** @throws TidemarkError OBJECT_CORRUPT */
export function decodeRoot(bytes: Buffer): CheckpointRoot {
  return parsed(checkpointRoot, bytes, 'a checkpoint')
}

const page = z.object({ version: z.literal(1), entries: z.array(numbered) })

export function encodePage(entries: readonly PagedEntry[]): Buffer {
  return zstdCompressSync(
    Buffer.from(JSON.stringify({ version: 1, entries: entries.map(storedEntry) }), 'utf8'),
  )
}

/** What the entries of a page say, in one hash. */
export function contentOf(entries: readonly PagedEntry[]): string {
  return hashBytes(Buffer.from(JSON.stringify(entries.map(storedEntry)), 'utf8'))
}

/** @throws TidemarkError OBJECT_CORRUPT */
export function decodePage(bytes: Buffer): PagedEntry[] {
  return parsed(page, bytes, 'an index page').entries.map(({ number, writtenAt, body }): PagedEntry => {
    if (body.kind === 'segments') return { number: BigInt(number), writtenAt, body }
    if (body.kind === 'sequences') return { number: BigInt(number), writtenAt, body }
    throw new TidemarkError('OBJECT_CORRUPT', 'an index page of the ledger holds an entry of another kind')
  })
}

function parsed<T>(schema: z.ZodType<T>, bytes: Buffer, what: string): T {
  try {
    return schema.parse(JSON.parse(zstdDecompressSync(bytes).toString('utf8')))
  } catch (error) {
    throw new TidemarkError('OBJECT_CORRUPT', `${what} of the ledger cannot be read`, { cause: error })
  }
}
