/** What events have in a compressed form. */
import { createZstdDecompress, inflateSync } from 'node:zlib'
import { pipeline } from 'node:stream/promises'
import { PassThrough, Readable } from 'node:stream'
import { TidemarkError } from '../../../core/errors.ts'
import { ByteCursor } from './byte-cursor.ts'

/**
 * MariaDB's compressed statements and rows: a byte with the method and the length's length, the length, zlib (MariaDB,
 * sql/log_event.cc, binlog_buf_uncompress).
 *
 * @throws TidemarkError PROTOCOL
 */
export function unpacked(bytes: Buffer): Buffer {
  const [first = 0] = bytes
  const prefix = first & 0x07
  if ((first & 0xf0) !== 0x80 || prefix < 1 || prefix > 4 || bytes.length <= 1 + prefix)
    throw new TidemarkError(
      'PROTOCOL',
      'the binlog has a compressed event of a method that is not known here',
    )
  const length = bytes.readUIntBE(1, prefix)
  try {
    const whole = inflateSync(bytes.subarray(1 + prefix), { maxOutputLength: Math.max(1, length) })
    if (whole.length === length) return whole
  } catch (error) {
    throw damaged(error)
  }
  throw damaged(undefined)
}

function damaged(cause: unknown): TidemarkError {
  return new TidemarkError('PROTOCOL', 'a compressed event of the binlog is damaged', { cause })
}

const FIELD = { end: 0, size: 1, method: 2, unpackedSize: 3 } as const
const METHOD = { zstd: 0, none: 255 } as const

/**
 * The events of a whole transaction that MySQL compressed, each without a checksum; one event is held at a time (MySQL,
 * libbinlogevents/codecs; TRANSACTION_PAYLOAD_EVENT).
 *
 * @throws TidemarkError PROTOCOL
 */
export async function* payloadEvents(body: Buffer, largest: number): AsyncGenerator<Buffer> {
  const cursor = new ByteCursor(body)
  let method: number = METHOD.none
  for (let kind = cursor.lengthEncoded(); kind !== FIELD.end; kind = cursor.lengthEncoded()) {
    const field = new ByteCursor(cursor.slice(cursor.lengthEncoded()))
    if (kind === FIELD.method) method = field.lengthEncoded()
  }
  const packed = cursor.rest()
  if (method === METHOD.none) yield* split([packed], largest)
  else if (method === METHOD.zstd) yield* split(zstd(packed), largest)
  else
    throw new TidemarkError(
      'PROTOCOL',
      'the binlog has a transaction that is compressed in a way not known here',
    )
}

async function* zstd(packed: Buffer): AsyncGenerator<Buffer> {
  const out = new PassThrough()
  const running = pipeline(Readable.from([packed]), createZstdDecompress(), out)
  running.catch((error: unknown) => out.destroy(damaged(error)))
  yield* out as AsyncIterable<Buffer>
  await running
}

const LENGTH_AT = 9
const HEADER_BYTES = 19

async function* split(
  chunks: AsyncIterable<Buffer> | Iterable<Buffer>,
  largest: number,
): AsyncGenerator<Buffer> {
  let held: Buffer[] = []
  let bytes = 0
  // What the next event takes, as far as its header is there: a long one is put together once.
  let wanted = HEADER_BYTES
  for await (const chunk of chunks) {
    held.push(chunk)
    bytes += chunk.length
    if (bytes < wanted) continue
    let whole = Buffer.concat(held)
    for (wanted = HEADER_BYTES; whole.length >= wanted; wanted = HEADER_BYTES) {
      wanted = whole.readUInt32LE(LENGTH_AT)
      if (wanted < HEADER_BYTES || wanted > largest) throw damaged(undefined)
      if (whole.length < wanted) break
      yield whole.subarray(0, wanted)
      whole = whole.subarray(wanted)
    }
    held = [whole]
    bytes = whole.length
  }
  if (bytes > 0) throw damaged(undefined)
}
