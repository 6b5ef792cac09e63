/**
 * Avro object container files (Avro 1.12, "Object Container Files"), codec zstandard.
 *
 * The writer takes blocks that are compressed already, so that they can be made in parallel and put in any order.
 */
import { promisify } from 'node:util'
import { constants, zstdCompress, zstdDecompress } from 'node:zlib'
import { ByteSink } from './byte-sink.ts'
import { ByteSource, corrupt } from './byte-source.ts'

const MAGIC = Buffer.from([0x4f, 0x62, 0x6a, 0x01])
const compress = promisify(zstdCompress)
const decompress = promisify(zstdDecompress)

/** Level 3 of zstd: on chat rows 5 % smaller than level 1 for a third more time, in worker threads. */
const COMPRESSION = { [constants.ZSTD_c_compressionLevel]: 3, [constants.ZSTD_c_checksumFlag]: 0 }

/** zlib's default of 16 KiB for each piece of output makes a hundred of them, and a copy of all, out of one block. */
function pieceBytes(expected: number): number {
  return Math.min(Math.max(16 * 1024, Math.ceil(expected)), 1_250_000)
}

/** Blocks decompressed before they are asked for. */
const BLOCKS_AHEAD = 3

export interface Block {
  readonly rows: number
  readonly rawBytes: number
  readonly compressed: Buffer
}

export async function compressBlock(raw: Buffer, rows: number): Promise<Block> {
  return {
    rows,
    rawBytes: raw.length,
    compressed: await compress(raw, { params: COMPRESSION, chunkSize: pieceBytes(raw.length / 2) }),
  }
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
    head.long(block.compressed.length)
    const start = head.take()
    offsets.push(at)
    chunks.push(start, block.compressed, sync)
    at += start.length + block.compressed.length + 16
  }
  return { chunks, offsets }
}

export interface OpenedContainer {
  readonly schema: string
  /** In file order; a few are decompressed ahead, in worker threads. `wanted` gets a block's index in the file. */
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
        const block = decompress(compressed, { chunkSize: pieceBytes(compressed.length * 12) }).then(
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
        yield await next
      }
    },
  }
}
