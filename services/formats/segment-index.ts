/**
 * The index beside a cut's segments: what is where, and which transactions there were. JSON, zstd, sealed like a segment.
 * It answers `find` and points in time without opening the segments.
 */
import { zstdCompressSync, zstdDecompressSync } from 'node:zlib'
import { TidemarkError } from '../core/errors.ts'
import { parsePosition, type Position, positionText } from '../core/position.ts'
import type { SampledSequences } from '../core/transaction.ts'
import { parseSampled, sampledJson } from './sampled-sequences.ts'
import type { KeySpan } from './key-range.ts'

export interface IndexedTable {
  readonly oid: number
  readonly schema: string
  readonly name: string
}

export interface IndexedBlock {
  /** Index into `tables`. */
  readonly table: number
  /** Index into the entry's objects. */
  readonly object: number
  readonly rows: number
  /** Before compression. */
  readonly bytes: number
  /** Of the replica identity, from the smallest to the largest; undefined where nothing is known of it. */
  readonly keys: KeySpan | undefined
}

export interface IndexedTransaction {
  readonly position: Position
  readonly end: Position
  readonly transactionId: number
  /** Microseconds since 1970. */
  readonly committedAt: bigint
  /** [index into tables, inserts, updates, deletes, truncates] */
  readonly counts: readonly (readonly [number, number, number, number, number])[]
}

export interface SegmentIndex {
  readonly tables: readonly IndexedTable[]
  readonly blocks: readonly IndexedBlock[]
  readonly transactions: readonly IndexedTransaction[]
  readonly sequences: SampledSequences | undefined
  readonly markers: readonly { readonly at: Position; readonly name: string }[]
}

type Packed = readonly [string, string, number, string, readonly (readonly number[])[]]

export function encodeIndex(index: SegmentIndex): Buffer {
  const text = JSON.stringify({
    version: 1,
    tables: index.tables,
    blocks: index.blocks.map((b) => [
      b.table,
      b.object,
      b.rows,
      b.bytes,
      ...(b.keys === undefined ? [] : [b.keys.smallest, b.keys.largest]),
    ]),
    transactions: index.transactions.map(
      (t): Packed => [
        positionText(t.position),
        positionText(t.end),
        t.transactionId,
        t.committedAt.toString(),
        t.counts,
      ],
    ),
    sequences:
      index.sequences === undefined
        ? null
        : { at: positionText(index.sequences.at), ...sampledJson(index.sequences) },
    markers: index.markers.map((m) => ({ at: positionText(m.at), name: m.name })),
  })
  return zstdCompressSync(Buffer.from(text, 'utf8'))
}

/** @throws TidemarkError OBJECT_CORRUPT */
export function decodeIndex(bytes: Buffer): SegmentIndex {
  try {
    const raw = JSON.parse(zstdDecompressSync(bytes).toString('utf8')) as {
      version: number
      tables: IndexedTable[]
      blocks: [number, number, number, number, string[]?, string[]?][]
      transactions: Packed[]
      sequences: { at: string } | null
      markers: { at: string; name: string }[]
    }
    if (raw.version !== 1) throw new Error('version')
    return {
      tables: raw.tables,
      blocks: raw.blocks.map(([table, object, rows, size, smallest, largest]) => ({
        table,
        object,
        rows,
        bytes: size,
        keys: smallest === undefined || largest === undefined ? undefined : { smallest, largest },
      })),
      transactions: raw.transactions.map(([position, end, transactionId, committedAt, counts]) => ({
        position: parsePosition(position),
        end: parsePosition(end),
        transactionId,
        committedAt: BigInt(committedAt),
        counts: counts as unknown as IndexedTransaction['counts'],
      })),
      sequences:
        raw.sequences === null ? undefined : parseSampled(raw.sequences, parsePosition(raw.sequences.at)),
      markers: raw.markers.map((m) => ({ at: parsePosition(m.at), name: m.name })),
    }
  } catch (error) {
    throw new TidemarkError('OBJECT_CORRUPT', 'an index that cannot be read', { cause: error })
  }
}
