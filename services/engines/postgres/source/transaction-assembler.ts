/**
 * Messages to transaction parts. Holds at most one part in memory; a transaction of any size leaves as many parts.
 *
 * Invariant: parts come out in commit order, each transaction's first to last, the last one with its end LSN. A
 * transaction at or below `skipBelow` is already durable and is dropped whole (hazard 5); ordinals count every change
 * that the server sent, before any filter.
 */
import { TidemarkError } from '../../../core/errors.ts'
import { LIMITS } from '../../../core/limits.ts'
import { comparePositions, type Position } from '../../../core/position.ts'
import { type RelationVersion, type Subjects, withSubjects } from '../../../core/relation.ts'
import type {
  ChangeCount,
  ChangeShape,
  ControlRecord,
  LogItem,
  RecordRow,
  TransactionHead,
} from '../../../core/transaction.ts'
import { ByteSink } from '../../../core/byte-sink.ts'
import type { TextEncoding } from '../../../formats/change-schema.ts'
import { TupleEncoder } from './tuple-encoder.ts'
import { DDL_TABLE, MARKER_TABLE, OUR_SCHEMA } from '../session/names.ts'
import { insertedText, readBegin, readCommit, readRelation, readTruncated, TAG } from './pgoutput.ts'

interface Relation {
  readonly encoder: TupleEncoder
  /** Of tidemark.ddl: where each of its columns stands; installations differ in what they have. */
  readonly ddlColumns: ReadonlyMap<string, number> | undefined
  readonly isMarker: boolean
  /** Index of its shape in the part being filled, or -1. */
  slot: number
  /** Rows by operation in the part being filled. */
  rows: [number, number, number, number]
}

/** A row that was not taken. */
export interface RefusedRow {
  /** Commit LSN of its transaction. */
  readonly at: Position
  readonly table: RelationVersion
  /** Of its message. */
  readonly bytes: number
}

/** On the wire; a row of this size makes a part, and an Avro block, by itself. */
const LARGE_ROW = 1024 * 1024

const OPERATION_INDEX: Readonly<Record<number, 0 | 1 | 2>> = {
  [TAG.insert]: 0,
  [TAG.update]: 1,
  [TAG.delete]: 2,
}

export class TransactionAssembler {
  readonly #emit: (item: LogItem) => void
  readonly #text: TextEncoding
  readonly #subjects: Subjects
  readonly #timelineOf: (lsn: Position) => number
  readonly #skipBelow: Position
  readonly #onSkipped: ((head: TransactionHead) => void) | undefined
  readonly #onReached: ((lsn: Position) => void) | undefined
  readonly #onRefused: ((row: RefusedRow) => void) | undefined
  readonly #relations = new Map<number, Relation>()

  #head: TransactionHead | undefined
  #skipping = false
  #lsnBytes: Buffer = Buffer.alloc(0)
  #ordinal = 0
  #ddl: RecordRow[] = []
  #markers: ControlRecord[] = []
  /** Tables with a row that was too large to be taken, and its size. */
  readonly #refused = new Map<Relation, number>()

  #sink = new ByteSink(2 * LIMITS.partBytes)
  #partStart = 0
  /** The part being filled is one large row. */
  #isLarge = false
  #offsets: Uint32Array = new Uint32Array(4096)
  #shapeOf: Uint16Array = new Uint16Array(4096)
  #count = 0
  #shapes: ChangeShape[] = []
  #touched: Relation[] = []

  constructor(options: {
    emit: (item: LogItem) => void
    text: TextEncoding
    subjects: Subjects
    timelineOf: (lsn: Position) => number
    skipBelow: Position
    /** A transaction that is not handed on. */
    onSkipped?: (head: TransactionHead) => void
    /** Everything that commits below it has come. */
    onReached?: (lsn: Position) => void
    /** Before the end of a transaction that had it: once for each table, with the largest of its rows. */
    onRefused?: (row: RefusedRow) => void
  }) {
    this.#emit = options.emit
    this.#text = options.text
    this.#subjects = options.subjects
    this.#timelineOf = options.timelineOf
    this.#skipBelow = options.skipBelow
    this.#onSkipped = options.onSkipped
    this.#onReached = options.onReached
    this.#onRefused = options.onRefused
  }

  /** True between BEGIN and COMMIT: a keepalive's position then proves nothing (hazard 8). */
  get inTransaction(): boolean {
    return this.#head !== undefined
  }

  /** One pgoutput message at [start, end). */
  message(buffer: Buffer, start: number, end: number): void {
    const tag = buffer[start]!
    switch (tag) {
      case TAG.insert:
      case TAG.update:
      case TAG.delete:
        this.#row(tag, buffer, start + 1, end)
        break
      case TAG.begin:
        this.#begin(buffer, start + 1)
        break
      case TAG.commit:
        this.#commit(buffer, start + 1)
        break
      case TAG.relation:
        this.#relation(buffer, start + 1, end)
        break
      case TAG.truncate:
        this.#truncate(buffer, start + 1)
        break
      case TAG.type:
      case TAG.origin:
      case TAG.message:
        break
      default:
        throw new TidemarkError('PROTOCOL', `unknown message 0x${tag.toString(16)} in the stream`)
    }
  }

  #begin(buffer: Buffer, at: number): void {
    if (this.#head !== undefined) throw new TidemarkError('PROTOCOL', 'BEGIN inside a transaction')
    const begin = readBegin(buffer, at)
    this.#head = {
      timeline: this.#timelineOf(begin.commitLsn),
      position: begin.commitLsn,
      transactionId: begin.xid,
      committedAt: begin.committedAt,
    }
    this.#skipping = comparePositions(begin.commitLsn, this.#skipBelow) < 0
    if (!this.#skipping) this.#onReached?.(begin.commitLsn)
    const lsn = new ByteSink(10)
    lsn.bigLong(begin.commitLsn)
    this.#lsnBytes = lsn.take()
    this.#ordinal = 0
    this.#ddl = []
  }

  #commit(buffer: Buffer, at: number): void {
    const commit = readCommit(buffer, at)
    const head = this.#head
    if (head === undefined || head.position !== commit.commitLsn)
      throw new TidemarkError('PROTOCOL', 'COMMIT of another transaction than the one begun')
    if (!this.#skipping) {
      // Before the end of their transaction: a cut may roll behind it, and a crash then would lose what comes after.
      for (const marker of this.#markers) this.#emit(marker)
      for (const [{ encoder }, bytes] of this.#refused)
        this.#onRefused?.({ at: head.position, table: encoder.shape.relation, bytes })
      this.#part(commit.endLsn)
    } else this.#onSkipped?.(head)
    this.#markers = []
    this.#refused.clear()
    this.#head = undefined
  }

  #relation(buffer: Buffer, start: number, end: number): void {
    const version = withSubjects(readRelation(buffer, start, end), this.#subjects)
    const ours = version.schema === OUR_SCHEMA
    this.#relations.set(version.oid, {
      encoder: new TupleEncoder(version, this.#text),
      ddlColumns:
        ours && version.name === DDL_TABLE
          ? new Map(version.columns.map((column, index) => [column.name, index]))
          : undefined,
      isMarker: ours && version.name === MARKER_TABLE,
      slot: -1,
      rows: [0, 0, 0, 0],
    })
  }

  #row(tag: number, buffer: Buffer, at: number, end: number): void {
    const head = this.#head
    if (head === undefined) throw new TidemarkError('PROTOCOL', 'a row outside of a transaction')
    const ordinal = this.#ordinal++
    if (this.#skipping) return
    const oid = buffer.readUInt32BE(at)
    const relation = this.#known(oid)
    if (end - at >= LARGE_ROW) this.#largePart(relation.encoder.roomOf(tag, buffer, at + 4, end))
    const sink = this.#next(relation, OPERATION_INDEX[tag]!)
    relation.encoder.change(sink, tag, this.#lsnBytes, ordinal, buffer, at + 4, end)
    if (relation.ddlColumns !== undefined && tag === TAG.insert)
      this.#ddl.push(recordRow(relation.ddlColumns, buffer, at + 4))
    if (relation.isMarker && tag === TAG.insert) {
      const name = insertedText(buffer, at + 4, 1)
      if (name !== undefined) this.#markers.push({ kind: 'marker', at: head.position, name })
    }
    this.#rowDone()
  }

  /**
   * A message that is too large to be taken: its transaction goes on without it.
   *
   * @param head its first bytes
   * @param bytes how many it has
   */
  refused(head: Buffer, start: number, bytes: number): void {
    const tag = head[start]!
    if (OPERATION_INDEX[tag] === undefined)
      throw new TidemarkError('PROTOCOL', `a message 0x${tag.toString(16)} of ${bytes} bytes in the stream`)
    if (this.#head === undefined) throw new TidemarkError('PROTOCOL', 'a row outside of a transaction')
    this.#ordinal++
    if (this.#skipping) return
    const relation = this.#known(head.readUInt32BE(start + 1))
    this.#refused.set(relation, Math.max(bytes, this.#refused.get(relation) ?? 0))
  }

  #truncate(buffer: Buffer, at: number): void {
    const tables = readTruncated(buffer, at)
    const ordinal = this.#ordinal++
    if (this.#skipping) return
    for (const oid of tables) {
      const relation = this.#known(oid)
      const sink = this.#next(relation, 3)
      relation.encoder.truncate(sink, this.#lsnBytes, ordinal)
      this.#rowDone()
    }
  }

  #known(oid: number): Relation {
    const relation = this.#relations.get(oid)
    if (relation === undefined)
      throw new TidemarkError('PROTOCOL', `a row of relation ${oid}, which was never described`)
    return relation
  }

  /** Registers the next row in the part and returns the sink that takes its bytes. */
  #next(relation: Relation, operation: 0 | 1 | 2 | 3): ByteSink {
    if (relation.slot < 0 || this.#shapes[relation.slot] !== relation.encoder.shape) {
      relation.slot = this.#shapes.length
      this.#shapes.push(relation.encoder.shape)
      this.#touched.push(relation)
    }
    relation.rows[operation]++
    if (this.#count + 1 >= this.#offsets.length) {
      this.#offsets = grown32(this.#offsets)
      this.#shapeOf = grown16(this.#shapeOf)
    }
    this.#offsets[this.#count] = this.#sink.at - this.#partStart
    this.#shapeOf[this.#count] = relation.slot
    this.#count++
    return this.#sink
  }

  /** A large row gets a part and a buffer of its own, of the size that it needs. */
  #largePart(room: number): void {
    if (this.#count > 0) this.#part(undefined)
    this.#sink = new ByteSink(room)
    this.#partStart = 0
    this.#isLarge = true
  }

  #rowDone(): void {
    if (this.#isLarge || this.#sink.at - this.#partStart >= LIMITS.partBytes) this.#part(undefined)
  }

  #part(endLsn: Position | undefined): void {
    const head = this.#head!
    const offsets = this.#offsets.slice(0, this.#count + 1)
    offsets[this.#count] = this.#sink.at - this.#partStart
    const counts = this.#touched.map((relation): ChangeCount => {
      const count = { shape: relation.encoder.shape, rows: relation.rows }
      relation.rows = [0, 0, 0, 0]
      relation.slot = -1
      return count
    })
    this.#emit({
      kind: 'changes',
      head,
      changes: {
        bytes: this.#sink.buffer.subarray(this.#partStart, this.#sink.at),
        offsets,
        shapeOf: this.#shapeOf.slice(0, this.#count),
        shapes: this.#shapes,
        count: this.#count,
        ...(this.#isLarge ? { isOwn: true } : {}),
      },
      counts,
      end: endLsn,
      ddl: endLsn === undefined ? [] : this.#ddl,
    })
    // Parts share a buffer until it is full; the bytes handed out are never written again.
    if (this.#isLarge || this.#sink.at > LIMITS.partBytes) this.#sink = new ByteSink(2 * LIMITS.partBytes)
    this.#isLarge = false
    this.#partStart = this.#sink.at
    this.#count = 0
    this.#shapes = []
    this.#touched = []
  }
}

function recordRow(columns: ReadonlyMap<string, number>, buffer: Buffer, at: number): RecordRow {
  return new Map(Array.from(columns, ([column, index]) => [column, insertedText(buffer, at, index) ?? null]))
}

function grown32(array: Uint32Array): Uint32Array {
  const out = new Uint32Array(array.length * 2)
  out.set(array)
  return out
}

function grown16(array: Uint16Array): Uint16Array {
  const out = new Uint16Array(array.length * 2)
  out.set(array)
  return out
}
