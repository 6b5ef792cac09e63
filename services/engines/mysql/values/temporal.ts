/**
 * Dates and times as the binlog has them (MySQL, sql-common/my_time.cc), in the server's own text. Zero and partial dates and
 * negative times are values like any other (hazards 61, 62). Timestamps are in UTC.
 */
import { fractionBytes } from './value-bytes.ts'

const two = (value: number): string => String(value).padStart(2, '0')
const four = (value: number): string => String(value).padStart(4, '0')

/** @param micros 0 to 999,999. @param digits 0 to 6 */
function fractionText(micros: number, digits: number): string {
  return digits === 0 ? '' : `.${String(micros).padStart(6, '0').slice(0, digits)}`
}

/** Micros, from a fraction that is stored in hundredths, ten-thousandths or millionths of a second. */
function micros(value: number, digits: number): number {
  return value * [1, 10_000, 100, 1][fractionBytes(digits)]!
}

function readFraction(bytes: Buffer, at: number, digits: number): number {
  const length = fractionBytes(digits)
  return length === 0 ? 0 : micros(bytes.readUIntBE(at, length), digits)
}

/** DATE: three bytes of day, month and year. */
export function dateText(bytes: Buffer, at: number): string {
  const value = bytes.readUIntLE(at, 3)
  return `${four(value >> 9)}-${two((value >> 5) & 15)}-${two(value & 31)}`
}

/** DATETIME of five bytes, big-endian, with a sign that is always set. */
export function datetimeText(bytes: Buffer, at: number, digits: number): string {
  const value = bytes.readUIntBE(at, 5) - 0x80_0000_0000
  const time = value % 0x2_0000
  const date = (value - time) / 0x2_0000
  const months = date >> 5
  return `${four(Math.floor(months / 13))}-${two(months % 13)}-${two(date & 31)} ${two(time >> 12)}:${two((time >> 6) & 63)}:${two(time & 63)}${fractionText(readFraction(bytes, at + 5, digits), digits)}`
}

/** TIMESTAMP: seconds since 1970, big-endian; zero is no time. */
export function timestampText(bytes: Buffer, at: number, digits: number): string {
  return secondsText(bytes.readUInt32BE(at), readFraction(bytes, at + 4, digits), digits)
}

/** The same of before MySQL 5.6, little-endian and without a fraction. */
export function oldTimestampText(bytes: Buffer, at: number): string {
  return secondsText(bytes.readUInt32LE(at), 0, 0)
}

function secondsText(seconds: number, fraction: number, digits: number): string {
  if (seconds === 0 && fraction === 0) return `0000-00-00 00:00:00${fractionText(0, digits)}`
  return `${new Date(seconds * 1000).toISOString().slice(0, 19).replace('T', ' ')}${fractionText(fraction, digits)}`
}

/** TIME: hours to 838, negative ones too; the fraction of a negative one counts down with it. */
export function timeText(bytes: Buffer, at: number, digits: number): string {
  const length = fractionBytes(digits)
  const scale = 256 ** length
  const packed = bytes.readUIntBE(at, 3 + length) - 0x80_0000 * scale
  const absolute = Math.abs(packed)
  const fraction = absolute % scale
  const whole = (absolute - fraction) / scale
  return `${packed < 0 ? '-' : ''}${two((whole >> 12) & 0x3ff)}:${two((whole >> 6) & 63)}:${two(whole & 63)}${fractionText(micros(fraction, digits), digits)}`
}

/** TIME of before MySQL 5.6: hhmmss as a number of three bytes. */
export function oldTimeText(bytes: Buffer, at: number): string {
  const value = bytes.readIntLE(at, 3)
  const absolute = Math.abs(value)
  return `${value < 0 ? '-' : ''}${two(Math.floor(absolute / 10_000))}:${two(Math.floor(absolute / 100) % 100)}:${two(absolute % 100)}`
}

/** DATETIME of before MySQL 5.6: YYYYMMDDhhmmss as a number. */
export function oldDatetimeText(bytes: Buffer, at: number): string {
  const digits = String(bytes.readBigUInt64LE(at)).padStart(14, '0')
  const part = (from: number): string => digits.slice(from, from + 2)
  return `${digits.slice(0, 4)}-${part(4)}-${part(6)} ${part(8)}:${part(10)}:${part(12)}`
}

/** 0 is the year 0000. */
export function yearText(value: number): string {
  return value === 0 ? '0000' : String(1900 + value)
}

/** What JSON keeps of dates and times: packed into 64 bits, the fraction in the lowest 24 (MySQL, TIME_from_longlong_…_packed). */
export function packedDatetimeText(packed: bigint, isDate: boolean): string {
  const whole = Number(packed >> 24n)
  const fraction = Number(packed & 0xff_ffffn)
  const time = whole % 0x2_0000
  const date = (whole - time) / 0x2_0000
  const months = date >> 5
  const day = `${four(Math.floor(months / 13))}-${two(months % 13)}-${two(date & 31)}`
  if (isDate) return day
  return `${day} ${two(time >> 12)}:${two((time >> 6) & 63)}:${two(time & 63)}${fractionText(fraction, 6)}`
}

export function packedTimeText(packed: bigint): string {
  const absolute = packed < 0n ? -packed : packed
  const whole = Number(absolute >> 24n)
  return `${packed < 0n ? '-' : ''}${two((whole >> 12) & 0x3ff)}:${two((whole >> 6) & 63)}:${two(whole & 63)}${fractionText(Number(absolute & 0xff_ffffn), 6)}`
}
