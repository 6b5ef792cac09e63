/**
 * kafkajs knows gzip alone. Brokers compress what they are sent anew, by a topic's compression.type or their own: whatever an
 * operator chose is read here. Nothing is written by these.
 */
import { createRequire } from 'node:module'
import { promisify } from 'node:util'
import { zstdDecompress } from 'node:zlib'

const require = createRequire(import.meta.url)
const zstd = promisify(zstdDecompress)

/** The header of snappy-java's stream, by which Kafka's brokers write: a magic number, a version, the oldest version that reads it. */
const XERIAL = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0])
const XERIAL_BYTES = 16
/** Of what one block may become: a broker's are of 32 KiB. */
const SNAPPY_BLOCK_BYTES = 128 * 1024 * 1024

interface Codec {
  compress(): never
  decompress(bytes: Buffer): Buffer | Promise<Buffer>
}
interface Snappy {
  uncompress(block: Buffer, maxLength: number): Buffer
}
interface Lz4 {
  decompress(frame: Buffer): Uint8Array
}
let snappy: Snappy | undefined
let lz4: Lz4 | undefined

/** Blocks in snappy-java's frame, or one without a frame. */
function fromSnappy(bytes: Buffer): Buffer {
  // Loaded when the first such batch comes: few clusters have any.
  const { uncompress } = (snappy ??= require('snappyjs') as Snappy)
  if (!bytes.subarray(0, XERIAL.length).equals(XERIAL)) return uncompress(bytes, SNAPPY_BLOCK_BYTES)
  const blocks: Buffer[] = []
  for (let at = XERIAL_BYTES; at < bytes.length; ) {
    const length = bytes.readInt32BE(at)
    blocks.push(uncompress(bytes.subarray(at + 4, at + 4 + length), SNAPPY_BLOCK_BYTES))
    at += 4 + length
  }
  return Buffer.concat(blocks)
}

function fromLz4(bytes: Buffer): Buffer {
  const { decompress } = (lz4 ??= require('lz4js') as Lz4)
  const out = decompress(bytes)
  return Buffer.from(out.buffer, out.byteOffset, out.length)
}

const onlyRead = (): never => {
  throw new TypeError('batches are compressed by gzip alone here')
}

// Their own module alone: kafkajs as a whole binds what it finds when it is loaded, and others still have parts of it to replace.
const { Types, Codecs } = require('kafkajs/src/protocol/message/compression/index.js') as {
  readonly Types: Readonly<Record<'Snappy' | 'LZ4' | 'ZSTD', number>>
  readonly Codecs: Record<number, () => Codec>
}
Codecs[Types.Snappy] = () => ({ compress: onlyRead, decompress: fromSnappy })
Codecs[Types.LZ4] = () => ({ compress: onlyRead, decompress: fromLz4 })
Codecs[Types.ZSTD] = () => ({
  compress: onlyRead,
  decompress: (buffer: Buffer) => zstd(buffer),
})
