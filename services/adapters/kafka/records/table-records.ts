/** One table under one relation version as Kafka records: topic, key, lane, and the schemas that go to the registry. */
import { createHash } from 'node:crypto'
import { TidemarkError } from '../../../core/errors.ts'
import type { RelationVersion } from '../../../core/relation.ts'
import type { ChangeShape } from '../../../core/transaction.ts'
import { ByteSink } from '../../../core/byte-sink.ts'
import { ByteSource } from '../../../core/byte-source.ts'
import { CHANGE, ChangeWalk } from '../../../formats/change-walk.ts'
import { registrySchemas } from '../../../formats/registry-schema.ts'
import { textOfField } from '../../../formats/value-printer.ts'
import { stateBranch } from '../../../formats/value-kind.ts'
import { laneOf } from './lane.ts'
import { topicOf } from './topic-name.ts'

export interface TableRecord {
  readonly lane: number
  readonly key: Buffer
  /** The change itself; the wire format's head is put in front of it. */
  readonly value: Buffer
  /** A delete that stands for the old place of a row that moved to another lane: the update there is the change. */
  readonly isLink: boolean
  /** Nothing but the key: for consumers that keep the latest value of each key. */
  readonly isTombstone: boolean
}

export interface TableRecordOptions {
  readonly prefix: string
  readonly lanes: number
  /** A tombstone behind every delete of a table with a key. */
  readonly tombstones: boolean
  /** Columns whose values choose the lane, by `schema.table`; the identity's where a table is not named. */
  readonly partitionBy: ReadonlyMap<string, readonly string[]>
}

/** The wire format of Confluent's registries: a zero byte and the schema's id. */
export function wireHead(schemaId: number): Buffer {
  const head = Buffer.alloc(5)
  head.writeInt32BE(schemaId, 1)
  return head
}

export class TableRecords {
  readonly shape: ChangeShape
  readonly topic: string
  readonly keySchema: string
  readonly valueSchema: string
  readonly #walk: ChangeWalk
  readonly #keys: readonly number[]
  /** Columns that choose the lane; undefined for a keyless table's whole row. */
  readonly #laneColumns: ReadonlySet<number> | undefined
  readonly #options: TableRecordOptions
  readonly #text = new ByteSink(256)

  /** @throws TidemarkError LOG_REFUSED where a delete would not carry what chooses the lane */
  constructor(shape: ChangeShape, options: TableRecordOptions) {
    this.shape = shape
    this.topic = topicOf(options.prefix, shape.relation)
    this.#options = options
    this.#walk = new ChangeWalk(shape)
    this.#keys =
      shape.relation.identity === 'full'
        ? []
        : shape.relation.columns.flatMap((column, index) => (column.key ? [index] : []))
    this.#laneColumns = laneColumns(shape.relation, this.#keys, options.partitionBy)
    const { value, key } = registrySchemas(shape, this.#keys)
    this.valueSchema = value
    this.keySchema = key
  }

  /** Keyless tables: by the whole row. */
  get isKeyed(): boolean {
    return this.#keys.length > 0
  }

  /** The records of one change: one, or two where its row moves to another lane, or one for each lane (TRUNCATE). */
  of(bytes: Buffer, start: number, end: number): TableRecord[] {
    const walk = this.#walk
    walk.read(bytes, start, end)
    const value = bytes.subarray(start, end)
    const plain = { isLink: false, isTombstone: false }
    if (walk.operation === CHANGE.truncate)
      return Array.from({ length: this.#options.lanes }, (_, lane) => ({
        lane,
        key: Buffer.alloc(0),
        value,
        ...plain,
      }))
    const oldPlace = walk.old < 0 ? undefined : this.#place(bytes, walk.oldFields, walk.oldFields)
    const tombstone = (place: { lane: number; key: Buffer }): TableRecord[] =>
      this.#options.tombstones && this.isKeyed
        ? [{ ...place, value: Buffer.alloc(0), isLink: false, isTombstone: true }]
        : []
    if (walk.operation === CHANGE.delete) return [{ ...oldPlace!, value, ...plain }, ...tombstone(oldPlace!)]
    // A TOASTed key column that did not change is spelled out in the old key alone.
    const newPlace = this.#place(bytes, walk.newFields, walk.old < 0 ? walk.newFields : walk.oldFields)
    if (oldPlace === undefined || (oldPlace.key.equals(newPlace.key) && oldPlace.lane === newPlace.lane))
      return [{ ...newPlace, value, ...plain }]
    return [
      { ...oldPlace, value: this.#deleteOf(bytes, start), isLink: true, isTombstone: false },
      ...tombstone(oldPlace),
      { ...newPlace, value, ...plain },
    ]
  }

  /** The same head and old row, as a delete. */
  #deleteOf(bytes: Buffer, start: number): Buffer {
    const walk = this.#walk
    const oldEnd = walk.oldFields[walk.oldFields.length - 1]!
    return Buffer.concat([
      bytes.subarray(start, walk.operationAt),
      Buffer.from([CHANGE.delete, 2]),
      bytes.subarray(walk.old, oldEnd),
      Buffer.from([0]),
    ])
  }

  #place(bytes: Buffer, fields: Float64Array, fallback: Float64Array): { lane: number; key: Buffer } {
    const { lanes } = this.#options
    if (!this.isKeyed) {
      const digest = createHash('sha256')
        .update(bytes.subarray(fields[0]!, fields[fields.length - 1]!))
        .digest()
      const key = Buffer.concat([Buffer.from([64]), digest])
      if (this.#laneColumns === undefined) return { lane: laneOf(digest, lanes), key }
      this.#text.at = 0
      for (const index of this.#laneColumns) this.#spell(bytes, fields[index]!, fields[index + 1]!, index)
      return { lane: laneOf(this.#text.view(), lanes), key }
    }
    const parts: Buffer[] = []
    const at = (index: number): Float64Array =>
      bytes[fields[index]!] === stateBranch(this.shape.relation.columns[index]!.kind) * 2 ? fallback : fields
    for (const index of this.#keys) parts.push(bytes.subarray(at(index)[index]!, at(index)[index + 1]!))
    this.#text.at = 0
    for (const index of this.#laneColumns!)
      this.#spell(bytes, at(index)[index]!, at(index)[index + 1]!, index)
    return { lane: laneOf(this.#text.view(), lanes), key: Buffer.concat(parts) }
  }

  /** The server's text behind its length. */
  #spell(bytes: Buffer, start: number, end: number, index: number): void {
    const text = this.#text
    const value = textOfField(
      new ByteSource(bytes, start, end),
      this.shape.relation.columns[index]!.kind,
    ).text
    const length = value === null ? -1 : Buffer.byteLength(value)
    text.reserve(4 + Math.max(0, length))
    text.at = text.buffer.writeInt32BE(length, text.at)
    if (value !== null) text.at += text.buffer.write(value, text.at)
  }
}

function laneColumns(
  relation: RelationVersion,
  keys: readonly number[],
  partitionBy: TableRecordOptions['partitionBy'],
): ReadonlySet<number> | undefined {
  const table = `${relation.schema}.${relation.name}`
  const wanted = partitionBy.get(table)
  if (wanted === undefined) return keys.length === 0 ? undefined : new Set(keys)
  const columns = wanted.map((name) => relation.columns.findIndex((column) => column.name === name))
  const missing = wanted.filter(
    (_, i) => columns[i]! < 0 || (relation.identity !== 'full' && !keys.includes(columns[i]!)),
  )
  if (missing.length > 0)
    throw new TidemarkError(
      'LOG_REFUSED',
      `tables.${table}.partitionBy names ${missing.join(', ')}, which its replica identity does not have: a delete would not say where its row was`,
      { next: 'tidemark doctor  (proposes the identity that makes it possible)' },
    )
  return new Set(columns)
}
