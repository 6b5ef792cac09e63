/** The parts of the binlog's protocol that no server has to be asked for: packets, checksums, sets of GTIDs, damaged events. */
import { crc32 } from 'node:zlib'
import { expect, test } from 'vitest'
import { EVENT, readEvent } from '../../services/engines/mysql/events/event.ts'
import { MariadbGtids, MysqlGtids } from '../../services/engines/mysql/events/gtid.ts'
import { isFull, readImage, readRowsEvent } from '../../services/engines/mysql/binlog/rows.ts'
import { readTableMap, TYPE } from '../../services/engines/mysql/events/table-map.ts'
import { PacketSplitter } from '../../services/engines/mysql/session/packets.ts'
import { decimalBytes, decimalText } from '../../services/engines/mysql/values/decimal.ts'
import { doubleText, floatText } from '../../services/engines/mysql/values/floating.ts'
import { jsonText } from '../../services/engines/mysql/values/json.ts'
import { random } from '../support/dice.ts'

const SEED = Number(process.env['TIDEMARK_SEED'] ?? Math.floor(Math.random() * 2 ** 31))
const A = '3e11fa47-71ca-11e1-9e33-c80aa9429562'
const B = '4e11fa47-71ca-11e1-9e33-c80aa9429562'

function packet(body: Buffer): Buffer {
  const header = Buffer.alloc(4)
  header.writeUIntLE(body.length, 0, 3)
  return Buffer.concat([header, body])
}

test(`packets come out whole however they arrive (seed ${SEED})`, () => {
  const next = random(SEED)
  const bodies = Array.from({ length: 60 }, (_, i) => Buffer.alloc(next(3000), i))
  const bytes = Buffer.concat(bodies.map(packet))
  const splitter = new PacketSplitter(1 << 20)
  const found: Buffer[] = []
  for (let at = 0; at < bytes.length; ) {
    const size = 1 + next(next(3) === 0 ? 5 : 2000)
    for (const body of splitter.take(bytes.subarray(at, at + size))) found.push(Buffer.from(body))
    at += size
  }
  expect(found.map((body) => body.toString('hex'))).toEqual(bodies.map((body) => body.toString('hex')))
  expect(splitter.isWithin).toBe(false)
})

test('what is longer than a packet may be is put together, and no more is held than allowed', () => {
  const whole = Buffer.alloc(0xff_ffff + 10, 7)
  const bytes = Buffer.concat([packet(whole.subarray(0, 0xff_ffff)), packet(whole.subarray(0xff_ffff))])
  const splitter = new PacketSplitter(1 << 25)
  const found: Buffer[] = []
  for (let at = 0; at < bytes.length; at += 1 << 16)
    found.push(...splitter.take(bytes.subarray(at, at + (1 << 16))))
  expect(found).toHaveLength(1)
  expect(found[0]!.equals(whole)).toBe(true)
  expect(() => [...new PacketSplitter(1000).take(packet(Buffer.alloc(1001)))]).toThrow(
    /larger than may be held/,
  )
  const half = new PacketSplitter(1000)
  expect([...half.take(packet(Buffer.alloc(9)).subarray(0, 5))]).toEqual([])
  expect(half.isWithin).toBe(true)
})

/** An event with its checksum. */
function event(type: number, body: Buffer): Buffer {
  const bytes = Buffer.alloc(19 + body.length + 4)
  bytes.writeUInt8(type, 4)
  bytes.writeUInt32LE(bytes.length, 9)
  body.copy(bytes, 19)
  bytes.writeUInt32LE(crc32(bytes.subarray(0, -4)), bytes.length - 4)
  return bytes
}

test('a bit that flips on the way is found (hazard 64)', () => {
  const bytes = event(EVENT.xid, Buffer.from('0102030405060708', 'hex'))
  expect(readEvent(bytes, 'crc32').body.toString('hex')).toBe('0102030405060708')
  for (let at = 19; at < bytes.length; at++) {
    const damaged = Buffer.from(bytes)
    damaged[at]! ^= 0x10
    expect(() => readEvent(damaged, 'crc32')).toThrow(/checksum/)
  }
  expect(() => readEvent(bytes.subarray(0, -1), 'crc32')).toThrow(/not as long/)
})

test('sets of MySQL transactions: ranges, tags, order', () => {
  const set = MysqlGtids.parse(`${B}:5, ${A}:1-3:5:4:9-11,${A}:tag:1`)
  expect(set.toString()).toBe(`${A}:1-5:9-11,${A}:tag:1,${B}:5`)
  expect(set.with(A, 8n).with(A, 7n).with(A, 6n).toString()).toContain(`${A}:1-11,`)
  expect([set.has(A, 5n), set.has(A, 6n), set.has(`${A}:tag`, 1n), set.has(`${A}:tag`, 2n)]).toEqual([
    true,
    false,
    true,
    false,
  ])
  expect(set.contains(MysqlGtids.parse(`${A}:2-4`))).toBe(true)
  expect(set.contains(MysqlGtids.parse(`${A}:5-9`))).toBe(false)
  expect(set.contains(MysqlGtids.parse(`4e11fa47-71ca-11e1-9e33-c80aa9429563:1`))).toBe(false)
  expect(MysqlGtids.parse('').toString()).toBe('')
  for (const wrong of ['x', `${A}:0`, `${A}:3-2`, `${A}:1-`]) expect(() => MysqlGtids.parse(wrong)).toThrow()
  // One source of 16 bytes, its ranges end exclusively.
  expect(MysqlGtids.parse(`${A}:1-3`).encode().toString('hex')).toBe(
    `0100000000000000${A.replaceAll('-', '')}010000000000000001000000000000000400000000000000`,
  )
  expect(() => set.encode()).toThrow(/tagged/)
})

test('sets of MariaDB transactions: the last of each domain stands for all before', () => {
  const set = MariadbGtids.parse('1-7-4,0-1-100')
  expect(set.toString()).toBe('0-1-100,1-7-4')
  const later = set.with({ domain: 0, server: 2, sequence: 101n })
  expect(later.toString()).toBe('0-2-101,1-7-4')
  expect([later.contains(set), set.contains(later)]).toEqual([true, false])
  expect(set.contains(MariadbGtids.parse('2-1-1'))).toBe(false)
  expect(() => MariadbGtids.parse('0-1')).toThrow()
})

test('a column that a row does not have is told from one that is NULL (hazard 53)', () => {
  const map = readTableMap(
    Buffer.concat([
      Buffer.from('070000000000' + '0100', 'hex'),
      Buffer.from([1, 0x73, 0, 1, 0x74, 0]),
      Buffer.from([3, TYPE.long, TYPE.long, TYPE.tiny]),
      Buffer.from([0]),
      Buffer.from([0b110]),
    ]),
  )
  const body = Buffer.concat([
    Buffer.from('070000000000' + '0100', 'hex'),
    // Columns 0 and 2 are there, and the second of these is NULL.
    Buffer.from([3, 0b101, 0b10]),
    Buffer.from([42, 0, 0, 0]),
  ])
  const rows = readRowsEvent(body, 'write', false)
  expect(isFull(rows.after!, 3)).toBe(false)
  const { offsets } = readImage(rows.rows, map, rows.after!, new Int32Array(6))
  expect([offsets[1]! - offsets[0]!, offsets[2], offsets[4]]).toEqual([4, -2, -1])
  expect(() => readImage(rows.rows, map, rows.after!, new Int32Array(6))).toThrow(/ends within/)
})

test('numbers in the text that makes them again', () => {
  expect([1e15, 1e14, 1e-14, 1e-15, 1e-16, 0.1, -1.5e300, 5e-324, 0, -0].map(doubleText)).toEqual([
    '1e15',
    '100000000000000',
    '0.00000000000001',
    '0.000000000000001',
    '1e-16',
    '0.1',
    '-1.5e300',
    '5e-324',
    '0',
    '-0',
  ])
  const next = random(SEED)
  for (let i = 0; i < 5000; i++) {
    const bits = Buffer.from(Array.from({ length: 8 }, () => next(256)))
    const [double, float] = [bits.readDoubleLE(0), bits.readFloatLE(0)]
    if (Number.isFinite(double)) expect(Number(doubleText(double))).toBe(double)
    if (Number.isFinite(float)) expect(Math.fround(Number(floatText(float)))).toBe(float)
  }
  expect([decimalBytes(65, 30), decimalBytes(1, 0), decimalBytes(18, 9)]).toEqual([30, 1, 8])
  // MySQL's own example: -1234567890.1234 of DECIMAL(14,4) (strings/decimal.cc).
  expect(decimalText(Buffer.from('7ef204c72dfb2d', 'hex'), 0, 14, 4)).toBe('-1234567890.1234')
})

test('a JSON value that is damaged is refused and no other is made of it', () => {
  // {"a": 1}
  const bytes = Buffer.from('000100' + '0c00' + '0b000100' + '050100' + '61', 'hex')
  expect(jsonText(bytes)).toBe('{"a": 1}')
  for (let length = 1; length < bytes.length; length++)
    expect(() => jsonText(bytes.subarray(0, length))).toThrow(expect.objectContaining({ code: 'PROTOCOL' }))
  // An array that has itself inside.
  expect(() => jsonText(Buffer.from('02' + '0100' + '0700' + '02' + '0000', 'hex'))).toThrow(/deeper/)
})
