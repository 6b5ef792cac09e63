/**
 * Avro object container files (Avro 1.12, "Object Container Files"), codec zstandard.
 *
 * The writer takes blocks that are compressed already, so that they can be made in parallel and put in any order.
 */
import { once } from 'node:events'
import { finished } from 'node:stream/promises'
import { promisify } from 'node:util'
import { constants, createZstdCompress, createZstdDecompress, zstdCompress } from 'node:zlib'
import { joined, LARGE_BYTES, release } from '../core/release.ts'
import { ByteSink } from '../core/byte-sink.ts'
import { ByteSource, corrupt } from '../core/byte-source.ts'

const MAGIC = Buffer.from([0x4f, 0x62, 0x6a, 0x01])
const compress = promisify(zstdCompress)

/** Level 3 of zstd: on chat rows 5 % smaller than level 1 for a third more time, in worker threads. */
const COMPRESSION = { [constants.ZSTD_c_compressionLevel]: 3, [constants.ZSTD_c_checksumFlag]: 0 }

/** zlib's default of 16 KiB for each piece of output makes a hundred of them, and a copy of all, out of one block. */
function pieceBytes(expected: number): number {
  return Math.min(Math.max(16 * 1024, Math.ceil(expected)), 1_250_000)
}

/** What goes through a compression at once, of what is larger. */
const STEP_BYTES = 1024 * 1024

/** Blocks decompressed before they are asked for. */
const BLOCKS_AHEAD = 3

export interface Block {
  readonly rows: number
  readonly rawBytes: number
  /** In pieces that are the block's alone. */
  readonly compressed: readonly Buffer[]
}

export async function compressBlock(raw: Buffer, rows: number): Promise<Block> {
  return {
    rows,
    rawBytes: raw.length,
    compressed: [await compress(raw, { params: COMPRESSION, chunkSize: pieceBytes(raw.length / 2) })],
  }
}

/** A block of one large row, whose bytes are never copied together. Its frame says how many they are. */
export async function compressRow(pieces: readonly Buffer[]): Promise<Block> {
  const rawBytes = lengthOf(pieces)
  const compressed: Buffer[] = []
  const options = { params: COMPRESSION, chunkSize: pieceBytes(rawBytes / 2), pledgedSrcSize: rawBytes }
  await throughStream(createZstdCompress(options), pieces, (piece) => compressed.push(piece))
  return { rows: 1, rawBytes, compressed }
}

function lengthOf(pieces: readonly Buffer[]): number {
  return pieces.reduce((sum, piece) => sum + piece.length, 0)
}

/** Takes no more at once than it works on. */
async function throughStream(
  stream: ReturnType<typeof createZstdCompress> | ReturnType<typeof createZstdDecompress>,
  pieces: readonly Buffer[],
  onPiece: (piece: Buffer) => unknown,
): Promise<void> {
  stream.on('data', onPiece)
  const ended = finished(stream)
  ended.catch(() => undefined)
  const steps = pieces.flatMap((piece) =>
    Array.from({ length: Math.ceil(piece.length / STEP_BYTES) }, (_, i) =>
      piece.subarray(i * STEP_BYTES, (i + 1) * STEP_BYTES),
    ),
  )
  const last = steps.pop()
  for (const step of steps) if (!stream.write(step)) await Promise.race([once(stream, 'drain'), ended])
  stream.end(last)
  await ended
}

/** What the frame says that it holds (RFC 8878, 3.1.1.1); undefined where it does not say it. */
function contentSize(frame: Buffer): number | undefined {
  const descriptor = frame[4] ?? 0
  const form = descriptor >> 6
  // Behind a window and a dictionary; frames of one segment have no window.
  const isSegment = (descriptor & 32) !== 0
  const at = 5 + (isSegment ? 0 : 1) + [0, 1, 2, 4][descriptor & 3]!
  if (form === 0 || frame.length < at + 2 ** form) return undefined
  return form === 1 ? frame.readUInt16LE(at) + 256 : Number(frame.readUIntLE(at, form === 2 ? 4 : 6))
}

async function decompress(compressed: Buffer): Promise<Buffer> {
  const stream = createZstdDecompress({ chunkSize: pieceBytes(compressed.length * 12) })
  const size = contentSize(compressed)
  if (size === undefined || size < LARGE_BYTES) {
    const pieces: Buffer[] = []
    await throughStream(stream, [compressed], (piece) => pieces.push(piece))
    return joined(pieces, lengthOf(pieces))
  }
  const whole = Buffer.allocUnsafeSlow(size)
  let at = 0
  await throughStream(stream, [compressed], (piece) => {
    piece.copy(whole, at)
    at += piece.length
  })
  if (at !== size) throw corrupt('a block of another length than its frame says')
  return whole
}

/** The whole file as chunks; `sync` is 16 random bytes. Returns also where each block starts. */
export function containerFile(
  schema: string,
  sync: Buffer,
  blocks: readonly Block[],
): { readonly chunks: Buffer[]; readonly offsets: number[] } {
  const header = new ByteSink(schema.length + 256)
  MAGIC.copy(header.buffer, 0)
  header.at = 4
  header.long(2)
  header.string('avro.schema')
  header.string(schema)
  header.string('avro.codec')
  header.string('zstandard')
  header.reserve(32)
  header.long(0)
  sync.copy(header.buffer, header.at)
  header.at += 16
  const chunks = [header.take()]
  const offsets: number[] = []
  let at = chunks[0]!.length
  for (const block of blocks) {
    const head = new ByteSink(20)
    head.long(block.rows)
    const compressed = lengthOf(block.compressed)
    head.long(compressed)
    const start = head.take()
    offsets.push(at)
    chunks.push(start, ...block.compressed, sync)
    at += start.length + compressed + 16
  }
  return { chunks, offsets }
}

export interface OpenedContainer {
  readonly schema: string
  /**
   * In file order; a few are decompressed ahead, in worker threads. `wanted` gets a block's index in the file. To be read
   * once: a large file is given back as soon as its last block is decompressed.
   */
  blocks(wanted?: (index: number) => boolean): AsyncGenerator<{ readonly rows: number; readonly raw: Buffer }>
}

/** @throws TidemarkError OBJECT_CORRUPT */
export function openContainer(file: Buffer): OpenedContainer {
  if (!file.subarray(0, 4).equals(MAGIC)) throw corrupt('not an Avro container file')
  const source = new ByteSource(file, 4)
  let schema: string | undefined
  let codec = 'null'
  for (let count = source.long(); count !== 0; count = source.long()) {
    if (count < 0) throw corrupt('a container header in an unknown form')
    for (let i = 0; i < count; i++) {
      const key = source.string()
      const value = source.bytes()
      if (key === 'avro.schema') schema = value.toString('utf8')
      if (key === 'avro.codec') codec = value.toString('utf8')
    }
  }
  if (schema === undefined || codec !== 'zstandard')
    throw corrupt('a container file without schema or of another codec')
  const syncAt = source.skip(16)
  const sync = file.subarray(syncAt, syncAt + 16)
  return {
    schema,
    async *blocks(wanted = () => true) {
      const ahead: Promise<{ rows: number; raw: Buffer }>[] = []
      let index = 0
      const start = (): void => {
        const rows = source.long()
        const compressed = source.bytes()
        const end = source.skip(16)
        if (!file.subarray(end, end + 16).equals(sync)) throw corrupt('a block without its sync marker')
        if (!wanted(index++)) return
        const block = decompress(compressed).then(
          (raw) => ({ rows, raw }),
          (error: unknown) =>
            Promise.reject(Object.assign(corrupt('a block that does not decompress'), { cause: error })),
        )
        block.catch(() => undefined)
        ahead.push(block)
      }
      for (;;) {
        while (!source.done && ahead.length < BLOCKS_AHEAD) start()
        const next = ahead.shift()
        if (next === undefined) return
        const block = await next
        if (source.done && ahead.length === 0) release(file)
        yield block
      }
    },
  }
}
