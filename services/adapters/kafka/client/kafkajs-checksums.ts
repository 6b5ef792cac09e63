/**
 * kafkajs 2.2.4 reads a batch without a look at its checksum, and brokers hand on what their disk gives them: a bit that
 * turned there would go into the backup as a row that nobody wrote. Put in front of kafkajs' own decoder before it is loaded (pinned to
 * the version).
 */
import { createRequire } from 'node:module'
import { DamagedBatchError } from './damaged-batch.ts'

interface Decoder {
  readonly buffer: Buffer
  readonly offset: number
}

type DecodeBatch = (decoder: Decoder) => Promise<unknown>

/** Of the batch's first offset and length, which stand in front of what the length counts. */
const FRONT_BYTES = 12
const CRC_AT = 17
/** What the checksum covers. */
const CRC_FROM = 21

const require = createRequire(import.meta.url)
const crc32C = require('kafkajs/src/protocol/recordBatch/crc32C/index.js') as (bytes: Buffer) => number

function proveBatch({ buffer, offset }: Decoder): void {
  if (buffer.length - offset < CRC_FROM) return
  const end = offset + FRONT_BYTES + buffer.readInt32BE(offset + 8)
  // The last batch of an answer may be cut short: kafkajs leaves it out.
  if (end > buffer.length) return
  const isWhole =
    end > offset + CRC_FROM &&
    crc32C(buffer.subarray(offset + CRC_FROM, end)) === buffer.readUInt32BE(offset + CRC_AT)
  if (!isWhole) throw new DamagedBatchError(buffer.readBigInt64BE(offset))
}

const path = require.resolve('kafkajs/src/protocol/recordBatch/v0/decoder.js')
const decode = require(path) as DecodeBatch
const loaded = require.cache[path]
if (loaded !== undefined)
  loaded.exports = async (decoder: Decoder): Promise<unknown> => {
    proveBatch(decoder)
    return decode(decoder)
  }
