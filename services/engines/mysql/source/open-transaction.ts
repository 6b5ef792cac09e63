/** A transaction of the log on its way into parts: at most one part is held, whatever its size. */
import { ByteSink } from '../../../core/byte-sink.ts'
import { LIMITS } from '../../../core/limits.ts'
import type { Position } from '../../../core/position.ts'
import type {
  ChangeCount,
  ChangeShape,
  RecordRow,
  TransactionHead,
  TransactionPart,
} from '../../../core/transaction.ts'
import { ChangeEncoder } from '../../../formats/change-encoder.ts'
import type { RowsEvent, RowsKind } from '../binlog/rows.ts'
import { recordFields, RECORDS } from '../dialect/ddl-record.ts'
import type { LoggedTable } from './logged-table.ts'

const OPERATION: Readonly<Record<RowsKind, 0 | 1 | 2>> = { write: 0, update: 1, delete: 2 }
const records = new ChangeEncoder(RECORDS, 'utf8')

export class OpenTransaction {
  readonly head: TransactionHead
  readonly #stamp: Buffer
  #ordinal = 0
  #isBegun = false
  readonly #ddl: RecordRow[] = []
  #sink = new ByteSink(LIMITS.partBytes)
  #offsets: number[] = [0]
  #shapeOf: number[] = []
  #shapes: ChangeShape[] = []
  #counts: [number, number, number, number][] = []

  constructor(head: TransactionHead) {
    this.head = head
    const stamp = new ByteSink(10)
    stamp.bigLong(head.position)
    this.#stamp = stamp.take()
  }

  /** Whether there is anything in it for a backup. */
  get isEmpty(): boolean {
    return !this.#isBegun && this.#shapeOf.length === 0 && this.#ddl.length === 0
  }

  *rows(table: LoggedTable, event: RowsEvent): Generator<TransactionPart> {
    const operation = OPERATION[event.kind]
    while (event.rows.left > 0) {
      table.next(event, this.#sink, this.#stamp, this.#ordinal)
      this.#took(table.encoder.shape, operation)
      if (this.#sink.at >= LIMITS.partBytes) yield this.#part(undefined)
    }
  }

  record(record: RecordRow): void {
    this.#ddl.push(record)
    const fields = recordFields(record).map((text) => (text === null ? null : Buffer.from(text, 'utf8')))
    records.encode(this.#sink, 'insert', this.#stamp, this.#ordinal, undefined, fields)
    this.#took(records.shape, 0)
  }

  truncate(table: LoggedTable): void {
    table.encoder.truncate(this.#sink, this.#stamp, this.#ordinal)
    this.#took(table.encoder.shape, 3)
  }

  /** The last part. @param committedAt known with its end */
  ended(end: Position, resume: string, committedAt: bigint): TransactionPart {
    return { ...this.#part(end), head: { ...this.head, committedAt }, resume }
  }

  #took(shape: ChangeShape, operation: 0 | 1 | 2 | 3): void {
    let at = this.#shapes.indexOf(shape)
    if (at < 0) {
      at = this.#shapes.push(shape) - 1
      this.#counts.push([0, 0, 0, 0])
    }
    this.#counts[at]![operation]++
    this.#shapeOf.push(at)
    this.#offsets.push(this.#sink.at)
    this.#ordinal++
  }

  #part(end: Position | undefined): TransactionPart {
    const part: TransactionPart = {
      kind: 'changes',
      head: this.head,
      changes: {
        bytes: this.#sink.take(),
        offsets: Uint32Array.from(this.#offsets),
        shapeOf: Uint16Array.from(this.#shapeOf),
        shapes: this.#shapes,
        count: this.#shapeOf.length,
      },
      counts: this.#shapes.map((shape, i): ChangeCount => ({ shape, rows: this.#counts[i]! })),
      end,
      ddl: end === undefined ? [] : this.#ddl,
    }
    this.#isBegun = true
    this.#offsets = [0]
    this.#shapeOf = []
    this.#shapes = []
    this.#counts = []
    return part
  }
}
