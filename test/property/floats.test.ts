/** The server as the oracle of how floats are printed: random bits and every edge, in both sizes. TIDEMARK_SEED=n runs it again. */
import pg from 'pg'
import { expect, test } from 'vitest'
import { random } from '../../services/demo/chat-traffic.ts'
import { ByteSink } from '../../services/core/byte-sink.ts'
import { ByteSource } from '../../services/core/byte-source.ts'
import { valueWriter } from '../../services/formats/value-encoder.ts'
import { textOfField } from '../../services/formats/value-printer.ts'
import { serverUrl, testedVersions } from '../support/backup.ts'

const SEED = Number(process.env['TIDEMARK_SEED'] ?? Math.floor(Math.random() * 2 ** 31))
const RANDOM = process.env['TIDEMARK_TEST_SCOPE'] === 'soak' ? 2_000_000 : 30_000

/** As the wire has an array: one dimension, no nulls. */
function binaryArray(oid: number, size: number, words: readonly bigint[]): Buffer {
  const out = Buffer.alloc(20 + words.length * (4 + size))
  out.writeInt32BE(1, 0)
  out.writeInt32BE(oid, 8)
  out.writeInt32BE(words.length, 12)
  out.writeInt32BE(1, 16)
  words.forEach((word, i) => {
    const at = 20 + i * (4 + size)
    out.writeInt32BE(size, at)
    if (size === 8) out.writeBigUInt64BE(word, at + 4)
    else out.writeUInt32BE(Number(word), at + 4)
  })
  return out
}

const view = new DataView(new ArrayBuffer(8))

function wordOf8(value: number): bigint {
  view.setFloat64(0, value)
  return view.getBigUint64(0)
}

function wordOf4(value: number): bigint {
  view.setFloat32(0, value)
  return BigInt(view.getUint32(0))
}

/** Numbers where rules change: thresholds of notation, powers, integers that are no longer exact, halves and fives. */
function edges(): number[] {
  const all: number[] = [
    0,
    0.1,
    0.3,
    1 / 3,
    5e-5,
    9007199254740993,
    1e23,
    9.5367431640625e-7,
    Number.NaN,
    Infinity,
  ]
  for (let e = -330; e <= 310; e++) all.push(Number(`1e${e}`), Number(`9.5e${e}`), Number(`9.9999e${e}`))
  for (let e = -1074; e <= 1023; e++) all.push(2 ** e, 3 * 2 ** e)
  for (let q = 0; q < 24; q++) for (let n = 1; n < 40; n += 2) all.push((2 ** 53 + n) * 5 ** q, n * 10 ** q)
  // Halfway between two decimals of as many digits.
  for (let e = 15; e < 54; e++) for (let n = 1; n < 32; n++) all.push(2 ** e + n / 16)
  return all.flatMap((value) => [value, -value])
}

/** An edge, and what lies beside it. */
function around(word: bigint, mask: bigint): bigint[] {
  return [-2n, -1n, 0n, 1n, 2n].map((by) => (word + by) & mask)
}

const SIZES = [
  { name: 'float4', oid: 700, size: 4, mask: 0xffffffffn, wordOf: wordOf4 },
  { name: 'float8', oid: 701, size: 8, mask: 0xffffffffffffffffn, wordOf: wordOf8 },
] as const

test.each(testedVersions().flatMap((version) => SIZES.map((one) => ({ version, ...one }))))(
  '$name on $version: what the server printed comes back byte for byte',
  async ({ version, name, oid, size, mask, wordOf }) => {
    console.log(`floats seed ${SEED}`)
    const roll = random(SEED)
    const next = (below: number): number => Math.floor(roll() * below)
    const words = edges().flatMap((value) => around(wordOf(value), mask))
    for (let i = 0; i < RANDOM; i++) {
      let word = 0n
      for (let part = 0; part < size; part += 2) word = (word << 16n) | BigInt(next(65536))
      words.push(word)
      // Numbers of few digits are what people have.
      words.push(wordOf(next(100_000) / 10 ** next(12)), wordOf(next(100_000) * 10 ** next(20)))
    }
    const client = new pg.Client(serverUrl(version))
    await client.connect()
    try {
      await client.query('SET extra_float_digits = 3')
      const { rows } = await client.query<{ t: string }>(
        `SELECT t::text AS t FROM unnest($1::${name}[]) AS t`,
        [binaryArray(oid, size, words)],
      )
      const kind = name === 'float4' ? 'float' : 'double'
      const write = valueWriter(kind)
      const wrong: string[] = []
      for (const { t } of rows) {
        const sink = new ByteSink(64)
        sink.reserve(64)
        const bytes = Buffer.from(t)
        write(sink, bytes, 0, bytes.length)
        const { text } = textOfField(new ByteSource(sink.take()), kind)
        if (text !== t) wrong.push(`${t} was printed as ${String(text)}`)
      }
      expect(rows).toHaveLength(words.length)
      expect(wrong.slice(0, 20)).toEqual([])
    } finally {
      await client.end()
    }
  },
)
