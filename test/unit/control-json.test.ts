/** Control records in the change log: what a version does not know stops it, and what was written before stays readable. */
import { expect, test } from 'vitest'
import { controlJson, parseControl } from '../../services/adapters/kafka/records/control-json.ts'
import { decodeUnit, parseStamp } from '../../services/adapters/kafka/records/unit.ts'
import { positionOf } from '../../services/core/position.ts'
import type { ControlRecord } from '../../services/core/transaction.ts'

const at = positionOf(0x1_0000_1234n)
const statements = (count: number) =>
  Array.from({ length: count }, (_, i) => ({ rank: 1, sql: `CREATE TABLE t${i} ()`, objects: [] }))
const reading = { reading: 'b', snapshot: '1:1:', statements: statements(1), head: at }

/** One of each kind; the large ones are compressed. */
const RECORDS = {
  sequences: [{ kind: 'sequences', at, samples: [], checked: true }],
  schema: [1, 2000].map((count) => ({
    kind: 'schema',
    facts: { ...reading, statements: statements(count) },
    covers: at,
  })),
  'schema-change': [1, 2000].map((count) => ({
    kind: 'schema-change',
    change: { since: 'a', reading: 'b', snapshot: '1:1:', digest: 'd', gone: [], come: statements(count) },
    covers: at,
  })),
  heartbeat: [{ kind: 'heartbeat', at, timeline: 1 }],
  gap: [{ kind: 'gap', gap: { id: 'g', from: at, reason: 'r', scope: { kind: 'stream' } } }],
  marker: [{ kind: 'marker', at, name: 'm' }],
} as unknown as Readonly<Record<ControlRecord['kind'], readonly ControlRecord[]>>

/** As every version read it that passes over kinds which it does not know. */
const readBefore = (text: string): unknown => (text.startsWith('zstd:') ? 'compressed' : JSON.parse(text))

test.each(Object.entries(RECORDS))('%s: comes back as it went in', (_, records) => {
  for (const record of records) expect(parseControl(controlJson(record))).toEqual(record)
})

test('a kind that is younger than its readers cannot be read by them, and its first form still can by us', () => {
  for (const record of RECORDS['schema-change']) {
    const text = controlJson(record)
    expect(() => readBefore(text)).toThrow(SyntaxError)
    expect(parseControl(text.slice(2))).toEqual(record)
  }
  for (const record of RECORDS.schema) expect(() => readBefore(controlJson(record))).not.toThrow()
})

test.each([
  ['another kind', '{"kind":"later","at":{"$lsn":"0/1"}}', /kind "later"/],
  ['a kind of every object', '{"kind":"toString"}', /kind "toString"/],
  ['no kind', '{"at":1}', /without a kind/],
  ['nothing', 'null', /without a kind/],
  ['another form', '3:{"kind":"marker"}', /form/],
  ['a form that is compressed otherwise', 'zstd:AAAA', /form/],
])('%s stops the reader', (_, text, told) => {
  expect(() => parseControl(text)).toThrow(
    expect.objectContaining({ code: 'LOG_UNKNOWN', message: expect.stringMatching(told) }),
  )
})

test('a mark that a record carries and nobody here knows is told, not passed over', () => {
  const unknown = (marks: string): string | undefined =>
    parseStamp(Buffer.from(`1.2.3.4.shape${marks}`))!.unknown
  for (const marks of ['', '.l', '.t', '.l.t', '.p0/2', '.l.p1/3'])
    expect(unknown(marks), marks).toBeUndefined()
  for (const marks of ['.x', '.l.x', '.x.p0/2', '.p1']) expect(unknown(marks), marks).toBeDefined()
})

test('a unit in another form is one of another version', () => {
  expect(() => decodeUnit(Buffer.from('no unit at all'), Buffer.from('1.2.3.0.2'))).toThrow(
    expect.objectContaining({ code: 'LOG_UNKNOWN' }),
  )
})
