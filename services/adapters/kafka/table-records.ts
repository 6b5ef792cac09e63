/** One table under one relation version as Kafka records: topic, key, lane, and the schemas that go to the registry. */
import { createHash } from 'node:crypto'
import type { ChangeShape } from '../../core/transaction.ts'
import { ByteSink } from '../../formats/byte-sink.ts'
import { ByteSource } from '../../formats/byte-source.ts'
import { CHANGE, ChangeWalk } from '../../formats/change-walk.ts'
import { registrySchemas } from '../../formats/registry-schema.ts'
import { textOfField } from '../../formats/value-printer.ts'
import { kindOf, stateBranch } from '../../formats/value-kind.ts'
import { laneOf } from './lane.ts'
import { topicOf } from './topic-name.ts'

export interface TableRecord {
  readonly lane: number
  readonly key: Buffer
  /** The change itself; the wire format's head is put in front of it. */
  readonly value: Buffer
  /** A delete that stands for the old place of a row that moved to another lane: the update there is the change. */
  readonly isLink: boolean
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
  readonly #lanes: number
  readonly #text = new ByteSink(256)

  constructor(shape: ChangeShape, prefix: string, lanes: number) {
    this.shape = shape
    this.topic = topicOf(prefix, shape.relation)
    this.#lanes = lanes
    this.#walk = new ChangeWalk(shape)
    this.#keys = shape.relation.identity === 'full' ? [] : shape.relation.columns.flatMap((column, index) => (column.key ? [index] : []))
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
    if (walk.operation === CHANGE.truncate) return Array.from({ length: this.#lanes }, (_, lane) => ({ lane, key: Buffer.alloc(0), value, isLink: false }))
    const oldPlace = walk.old < 0 ? undefined : this.#place(bytes, walk.oldFields, walk.oldFields)
    if (walk.operation === CHANGE.delete) return [{ ...oldPlace!, value, isLink: false }]
    // A TOASTed key column that did not change is spelled out in the old key alone.
    const newPlace = this.#place(bytes, walk.newFields, walk.old < 0 ? walk.newFields : walk.oldFields)
    if (oldPlace === undefined || oldPlace.key.equals(newPlace.key)) return [{ ...newPlace, value, isLink: false }]
    return [
      { ...oldPlace, value: this.#deleteOf(bytes, start), isLink: true },
      { ...newPlace, value, isLink: false },
    ]
  }

  /** The same head and old row, as a delete. */
  #deleteOf(bytes: Buffer, start: number): Buffer {
    const walk = this.#walk
    const oldEnd = walk.oldFields[walk.oldFields.length - 1]!
    return Buffer.concat([bytes.subarray(start, walk.operationAt), Buffer.from([CHANGE.delete, 2]), bytes.subarray(walk.old, oldEnd), Buffer.from([0])])
  }

  #place(bytes: Buffer, fields: Float64Array, fallback: Float64Array): { lane: number; key: Buffer } {
    if (!this.isKeyed) {
      const digest = createHash('sha256').update(bytes.subarray(fields[0]!, fields[fields.length - 1]!)).digest()
      return { lane: laneOf(digest, this.#lanes), key: Buffer.concat([Buffer.from([64]), digest]) }
    }
    const parts: Buffer[] = []
    const text = this.#text
    text.at = 0
    for (const index of this.#keys) {
      const kind = kindOf(this.shape.relation.columns[index]!.typeOid)
      const from = bytes[fields[index]!] === stateBranch(kind) * 2 ? fallback : fields
      const start = from[index]!
      const end = from[index + 1]!
      parts.push(bytes.subarray(start, end))
      const value = textOfField(new ByteSource(bytes, start, end), kind).text
      const length = value === null ? -1 : Buffer.byteLength(value)
      text.reserve(4 + Math.max(0, length))
      text.at = text.buffer.writeInt32BE(length, text.at)
      if (value !== null) text.at += text.buffer.write(value, text.at)
    }
    return { lane: laneOf(text.view(), this.#lanes), key: Buffer.concat(parts) }
  }
}
