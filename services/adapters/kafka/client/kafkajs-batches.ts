/**
 * kafkajs 2.2.4 writes a batch of records through some ten small buffers for each record, which is a third of the cost of the
 * way into Kafka. This writes a whole batch into one buffer of its size (Kafka protocol, "Record Batch", magic 2), in its
 * place before kafkajs is loaded. Pinned to the version; `test/unit/kafkajs-batches.test.ts` compares the bytes.
 * Compressed by gzip or not at all.
 */
import { createRequire } from 'node:module'
import { gzipSync } from 'node:zlib'

interface Header {
  readonly name: Buffer
  readonly value: Buffer
}

/** What a record is until its batch is written. */
interface PlainRecord {
  readonly offsetDelta: number
  readonly timestampDelta: number
  readonly key: Buffer | null
  readonly value: Buffer | null
  readonly headers: readonly Header[]
  /** Bytes behind the length. */
  readonly size: number
}

type Bytes = Buffer | string | null | undefined

export interface RecordFields {
  readonly offsetDelta?: number
  readonly timestampDelta?: number
  readonly key?: Bytes
  readonly value?: Bytes
  readonly headers?: Readonly<Record<string, Bytes | readonly Bytes[]>>
}

export interface BatchFields {
  readonly compression?: number
  readonly firstTimestamp?: number | string
  readonly maxTimestamp?: number | string
  readonly partitionLeaderEpoch?: number
  readonly lastOffsetDelta?: number
  readonly transactional?: boolean
  readonly producerId?: { toString(): string }
  readonly producerEpoch?: number
  readonly firstSequence?: number
  readonly records?: readonly PlainRecord[]
}

/** kafkajs' growing buffer: what a batch is handed on as. */
interface Encoder {
  buf: Buffer
  offset: number
}

const HEAD_BYTES = 61
/** From the attributes on: what the checksum covers. */
const CRC_FROM = 21
/** Of the attributes. */
const GZIP = 1
const MAGIC = 2
const TRANSACTIONAL = 16
const names = new Map<string, Buffer>()

const require = createRequire(import.meta.url)
const Encoder = require('kafkajs/src/protocol/encoder.js') as new (initial: number) => Encoder
const crc32C = require('kafkajs/src/protocol/recordBatch/crc32C/index.js') as (bytes: Buffer) => number

export function record({
  offsetDelta = 0,
  timestampDelta = 0,
  key,
  value,
  headers = {},
}: RecordFields): PlainRecord {
  const all: Header[] = []
  for (const [name, values] of Object.entries(headers))
    for (const one of Array.isArray(values) ? (values as readonly Bytes[]) : [values as Bytes])
      all.push({ name: nameOf(name), value: bytesOf(one) ?? Buffer.alloc(0) })
  const plain = { offsetDelta, timestampDelta, key: bytesOf(key), value: bytesOf(value), headers: all }
  let size =
    1 +
    varintSize(timestampDelta) +
    varintSize(offsetDelta) +
    fieldSize(plain.key) +
    fieldSize(plain.value) +
    varintSize(all.length)
  for (const header of all) size += fieldSize(header.name) + fieldSize(header.value)
  return { ...plain, size }
}

export function recordBatch(fields: BatchFields): Promise<Encoder> {
  const {
    compression = 0,
    partitionLeaderEpoch = 0,
    lastOffsetDelta = 0,
    transactional = false,
    producerId = -1,
    producerEpoch = 0,
    firstSequence = 0,
    records = [],
    firstTimestamp = Date.now(),
    maxTimestamp = Date.now(),
  } = fields
  if (compression !== 0 && compression !== GZIP)
    throw new TypeError('batches are compressed by gzip alone here')
  let total = HEAD_BYTES
  for (const { size } of records) total += varintSize(size) + size
  const encoder = new Encoder(total)
  const out = encoder.buf
  out.writeBigInt64BE(0n, 0)
  out.writeInt32BE(total - 12, 8)
  out.writeInt32BE(partitionLeaderEpoch, 12)
  out.writeInt8(MAGIC, 16)
  out.writeInt16BE(transactional ? TRANSACTIONAL : 0, CRC_FROM)
  out.writeInt32BE(lastOffsetDelta, 23)
  out.writeBigInt64BE(BigInt(firstTimestamp), 27)
  out.writeBigInt64BE(BigInt(maxTimestamp), 35)
  out.writeBigInt64BE(BigInt(producerId.toString()), 43)
  out.writeInt16BE(producerEpoch, 51)
  out.writeInt32BE(firstSequence, 53)
  out.writeInt32BE(records.length, 57)
  let at = HEAD_BYTES
  for (const one of records) {
    at = writeVarint(out, at, one.size)
    out[at++] = 0
    at = writeVarint(out, at, one.timestampDelta)
    at = writeVarint(out, at, one.offsetDelta)
    at = writeField(out, at, one.key)
    at = writeField(out, at, one.value)
    at = writeVarint(out, at, one.headers.length)
    for (const header of one.headers) at = writeField(out, writeField(out, at, header.name), header.value)
  }
  encoder.offset = total
  const whole = compression === GZIP ? compressed(encoder) : encoder
  whole.buf.writeUInt32BE(crc32C(whole.buf.subarray(CRC_FROM, whole.offset)), 17)
  return Promise.resolve(whole)
}

/** The head says how long it is and by what it is compressed; the records behind it are one stream. */
function compressed({ buf, offset }: Encoder): Encoder {
  const records = gzipSync(buf.subarray(HEAD_BYTES, offset))
  const total = HEAD_BYTES + records.length
  const encoder = new Encoder(total)
  buf.copy(encoder.buf, 0, 0, HEAD_BYTES)
  records.copy(encoder.buf, HEAD_BYTES)
  encoder.buf.writeInt32BE(total - 12, 8)
  encoder.buf.writeInt16BE(buf.readInt16BE(CRC_FROM) | GZIP, CRC_FROM)
  encoder.offset = total
  return encoder
}

function nameOf(name: string): Buffer {
  let bytes = names.get(name)
  if (bytes === undefined) names.set(name, (bytes = Buffer.from(name)))
  return bytes
}

function bytesOf(value: Bytes): Buffer | null {
  if (value === null || value === undefined) return null
  return typeof value === 'string' ? Buffer.from(value) : value
}

/** Zigzag: up to 2^52 either way. */
function zigzag(value: number): number {
  return value < 0 ? -value * 2 - 1 : value * 2
}

function varintSize(value: number): number {
  let rest = zigzag(value)
  let size = 1
  while (rest >= 128) {
    rest = Math.floor(rest / 128)
    size++
  }
  return size
}

function fieldSize(bytes: Buffer | null): number {
  return bytes === null ? 1 : varintSize(bytes.length) + bytes.length
}

function writeVarint(out: Buffer, start: number, value: number): number {
  let rest = zigzag(value)
  let at = start
  while (rest >= 128) {
    out[at++] = (rest % 128) | 128
    rest = Math.floor(rest / 128)
  }
  out[at++] = rest
  return at
}

function writeField(out: Buffer, start: number, bytes: Buffer | null): number {
  if (bytes === null) return writeVarint(out, start, -1)
  const at = writeVarint(out, start, bytes.length)
  // A short copy costs less byte by byte than as a call.
  if (bytes.length < 24) for (let i = 0; i < bytes.length; i++) out[at + i] = bytes[i]!
  else bytes.copy(out, at)
  return at + bytes.length
}

function replace(path: string, change: (loaded: { exports: unknown }) => void): void {
  const full = require.resolve(path)
  require(full)
  const loaded = require.cache[full]
  if (loaded !== undefined) change(loaded)
}

replace('kafkajs/src/protocol/recordBatch/record/v0/index.js', (loaded) => (loaded.exports = record))
replace('kafkajs/src/protocol/recordBatch/v0/index.js', (loaded) =>
  Object.assign(loaded.exports as object, { RecordBatch: recordBatch }),
)
