/** Rows through our encoder, read by a stock Avro reader; fold against replay on random histories; temporal round trips. */
import avro from 'avsc'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { bytesOfText, hasEscapedBytes, textOfBytes } from '../../services/core/escaped-bytes.ts'
import type { RelationVersion } from '../../services/core/relation.ts'
import { columnType } from '../../services/engines/postgres/dialect/column-type.ts'
import { ByteSink } from '../../services/core/byte-sink.ts'
import { ByteSource } from '../../services/core/byte-source.ts'
import { avroName, baseSchema, changeShape } from '../../services/formats/change-schema.ts'
import { TupleEncoder } from '../../services/engines/postgres/source/tuple-encoder.ts'
import { daysOf, formatDate, formatTimestamp, parseTimestamp } from '../../services/formats/temporal.ts'
import { anyLong, textOfField } from '../../services/formats/value-printer.ts'
import { systemRandomness } from '../../services/core/clock.ts'
import { SpillFile } from '../../services/rebuild/spill-file.ts'
import { foldFor } from '../../services/rebuild/table-fold.ts'
import { RowLayout } from '../../services/history/row-layout.ts'

const SEED = Number(process.env['TIDEMARK_SEED'] ?? Math.floor(Math.random() * 2 ** 31))
console.log(`property seed ${SEED}`)
const check = (property: fc.IProperty<never> | fc.IRawProperty<unknown>, runs = 500): void =>
  void fc.assert(property as fc.IRawProperty<unknown>, { seed: SEED, numRuns: runs })

test('any 64-bit number survives its varint', () => {
  check(
    fc.property(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), (value) => {
      const sink = new ByteSink(16)
      sink.bigLong(value)
      const bytes = sink.take()
      expect(BigInt(anyLong(new ByteSource(bytes)))).toBe(value)
      if (value >= BigInt(Number.MIN_SAFE_INTEGER) && value <= BigInt(Number.MAX_SAFE_INTEGER)) {
        sink.long(Number(value))
        expect(sink.take().equals(bytes)).toBe(true)
      }
    }) as never,
    3000,
  )
})

test('any bytes are a text, and the same bytes again, through JSON and between other text', () => {
  const piece = fc.oneof(
    fc.uint8Array({ maxLength: 8 }),
    fc.string({ unit: 'binary', maxLength: 4 }).map((text) => Buffer.from(text)),
    fc.constantFrom(
      Buffer.from('\ufffd'),
      Buffer.from([0xed, 0xa0, 0x80]),
      Buffer.from([0xf4, 0x90, 0x80, 0x80]),
    ),
  )
  check(
    fc.property(fc.array(piece, { maxLength: 6 }), (pieces) => {
      const bytes = Buffer.concat(pieces)
      const text = textOfBytes(bytes)
      expect(bytesOfText(JSON.parse(JSON.stringify(text)) as string).equals(bytes)).toBe(true)
      expect(
        bytesOfText(`a${text}\u{1f600}`).equals(
          Buffer.concat([Buffer.from('a'), bytes, Buffer.from('\u{1f600}')]),
        ),
      ).toBe(true)
      expect(hasEscapedBytes(text)).toBe(!Buffer.from(bytes.toString('utf8')).equals(bytes))
    }) as never,
    3000,
  )
})

test('dates and times come back as they were', () => {
  check(
    fc.property(
      fc.integer({ min: daysOf(1, 1, 1), max: daysOf(9999, 12, 31) }),
      fc.integer({ min: 0, max: 86_399_999_999 }),
      (days, micros) => {
        const text = formatTimestamp(days, micros)
        const out = { days: 0, micros: 0 }
        expect(parseTimestamp(Buffer.from(text), 0, text.length, false, out)).toBe(true)
        expect(out).toEqual({ days, micros })
        expect(text.startsWith(formatDate(days))).toBe(true)
      },
    ) as never,
    3000,
  )
})

test('column names become Avro names, no two the same', () => {
  check(
    fc.property(fc.uniqueArray(fc.string({ minLength: 1, maxLength: 20 }), { maxLength: 12 }), (columns) => {
      const names = columns.map(avroName)
      expect(new Set(names).size).toBe(columns.length)
      for (const name of names) expect(name).toMatch(/^[A-Za-z_][A-Za-z0-9_]*$/)
    }) as never,
  )
})

const RELATION: RelationVersion = {
  oid: 4_000_000_000,
  schema: 'we"ird',
  name: '__proto__',
  identity: 'default',
  columns: [
    { name: 'id', ...columnType(20, -1), key: true },
    { name: 'user-id', ...columnType(25, -1), key: false },
    { name: '__proto__', ...columnType(1184, -1), key: false },
    { name: 'f', ...columnType(701, -1), key: false },
  ],
}

test('a stock reader reads our rows, states and odd names included', () => {
  const encoder = new TupleEncoder(RELATION, 'utf8')
  const type = avro.Type.forSchema(JSON.parse(baseSchema(changeShape(RELATION, 'utf8'))) as avro.Schema, {
    wrapUnions: true,
  })
  const sink = new ByteSink(1024)
  const line = Buffer.from('42\tta\\tb 😀\tinfinity\t0.1')
  encoder.copyLine(sink, line, 0, line.length)
  const row = type.fromBuffer(sink.take()) as Record<string, unknown>
  const values = JSON.parse(JSON.stringify(row)) as Record<string, Record<string, unknown>>
  expect(values['id']).toEqual({ long: 42 })
  expect(values['__1_user_x2d_id']).toEqual({ string: 'ta\tb 😀' })
  expect(Object.values(values)[2]).toEqual({ string: 'infinity' })
})

/** A row of (id, a, b) as our encoder writes it; `undefined` is unchanged. */
const FOLDED: RelationVersion = {
  oid: 1,
  schema: 'p',
  name: 't',
  identity: 'default',
  columns: ['id', 'a', 'b'].map((name, i) => ({
    name,
    ...columnType(i === 0 ? 23 : 25, -1),
    key: i === 0,
  })),
}

function encode(id: number, a: string | undefined, b: string | undefined): Buffer {
  const sink = new ByteSink(256)
  sink.byte(2)
  sink.long(id)
  for (const text of [a, b]) {
    if (text === undefined) {
      sink.byte(4)
      sink.byte(0)
    } else {
      sink.byte(2)
      sink.string(text)
    }
  }
  return sink.take()
}

type Step = {
  readonly kind: 'insert' | 'update' | 'move' | 'delete' | 'truncate'
  readonly key: number
  readonly to: number
  readonly text: string
  readonly keepsA: boolean
  readonly keepsB: boolean
}
const step: fc.Arbitrary<Step> = fc.record({
  kind: fc.constantFrom('insert', 'update', 'update', 'move', 'move', 'delete', 'truncate'),
  key: fc.integer({ min: 0, max: 9 }),
  to: fc.integer({ min: 0, max: 9 }),
  text: fc.string({ maxLength: 5 }),
  keepsA: fc.boolean(),
  keepsB: fc.boolean(),
})

test.each(['memory', 'disk'] as const)('fold equals replay, in %s', (kind) => {
  const layout = new RowLayout(FOLDED, 'utf8')
  const spill = new SpillFile(systemRandomness)
  check(
    fc.property(
      fc.uniqueArray(fc.integer({ min: 0, max: 9 }), { maxLength: 8 }),
      fc.array(step, { maxLength: 40 }),
      // biome-ignore lint/complexity/noExcessiveCognitiveComplexity: the oracle is one plain loop
      (base, steps) => {
        const replay = new Map<number, [string, string]>(base.map((id) => [id, [`a${id}`, `b${id}`]]))
        const older = [...replay].map(([id, [a, b]]) => encode(id, a, b))
        const fold = foldFor(
          layout,
          't',
          kind === 'memory'
            ? { kind }
            : { kind, partitions: 3, chunkBytes: 64, filterBits: 4096, movedKeys: 1000, spill },
        )
        for (const s of steps) {
          const row = replay.get(s.key)
          if (s.kind === 'truncate') {
            if (s.text.length < 4) continue
            replay.clear()
            fold.truncate()
          } else if (s.kind === 'insert') {
            if (row !== undefined) continue
            replay.set(s.key, [s.text, s.text])
            const bytes = encode(s.key, s.text, s.text)
            fold.insert(bytes, { start: 0, end: bytes.length })
          } else if (row === undefined) {
            continue
          } else if (s.kind === 'delete') {
            replay.delete(s.key)
            const bytes = encode(s.key, undefined, undefined)
            fold.delete(bytes, { start: 0, end: bytes.length })
          } else {
            const to = s.kind === 'move' ? s.to : s.key
            if (to !== s.key && replay.has(to)) continue
            const next: [string, string] = [s.keepsA ? row[0] : s.text, s.keepsB ? row[1] : s.text]
            replay.delete(s.key)
            replay.set(to, next)
            const old = encode(s.key, undefined, undefined)
            const image = encode(to, s.keepsA ? undefined : s.text, s.keepsB ? undefined : s.text)
            const joined = Buffer.concat([old, image])
            fold.update(joined, to === s.key ? undefined : { start: 0, end: old.length }, {
              start: old.length,
              end: joined.length,
            })
          }
        }
        const got = new Map<number, [string, string]>()
        const emit = (buffer: Buffer, start: number, end: number): void => {
          const source = new ByteSource(buffer, start, end)
          const [id, a, b] = layout.kinds.map((kind) => textOfField(source, kind))
          expect(got.has(Number(id!.text))).toBe(false)
          expect([a!.state, b!.state]).toEqual(['value', 'value'])
          got.set(Number(id!.text), [a!.text!, b!.text!])
        }
        for (const row of older) fold.feed(row, 0, row.length, emit)
        for (const _ of fold.finish(emit)) expect(true).toBe(true)
        expect([...got].sort()).toEqual([...replay].sort())
      },
    ) as never,
    kind === 'memory' ? 3000 : 1000,
  )
  spill.close()
})
