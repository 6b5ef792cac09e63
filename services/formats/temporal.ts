/**
 * Dates and times between the server's ISO text and Avro's counts, exactly.
 *
 * Inside years 1-9999 a value becomes days or microseconds since 1970; everything else (infinity, BC, five-digit years)
 * is answered with `undefined` and keeps its text: one infinity in a logical type makes other readers fail the whole file.
 */

const DAY_MICROS = 86_400_000_000

/** Days since 1970-01-01 of a proleptic Gregorian date. */
export function daysOf(year: number, month: number, day: number): number {
  const y = month <= 2 ? year - 1 : year
  const era = Math.floor(y / 400)
  const yearOfEra = y - era * 400
  const dayOfYear = Math.floor((153 * (month + (month > 2 ? -3 : 9)) + 2) / 5) + day - 1
  const dayOfEra = yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear
  return era * 146097 + dayOfEra - 719468
}

function two(buffer: Buffer, at: number): number {
  const a = buffer[at]! - 48
  const b = buffer[at + 1]! - 48
  return a >= 0 && a <= 9 && b >= 0 && b <= 9 ? a * 10 + b : Number.NaN
}

/** `YYYY-MM-DD` at [start, end) as days, or undefined. */
export function parseDate(buffer: Buffer, start: number, end: number): number | undefined {
  if (end - start !== 10 || buffer[start + 4] !== 45 || buffer[start + 7] !== 45) return undefined
  const year = two(buffer, start) * 100 + two(buffer, start + 2)
  const month = two(buffer, start + 5)
  const day = two(buffer, start + 8)
  // Some servers print days that no calendar has, as 0000-00-00: such text would not come back the same.
  if (!(year >= 1 && month >= 1 && month <= 12 && day >= 1 && day <= daysIn(year, month))) return undefined
  return daysOf(year, month, day)
}

function daysIn(year: number, month: number): number {
  if (month === 2) return year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0) ? 29 : 28
  return month === 4 || month === 6 || month === 9 || month === 11 ? 30 : 31
}

/**
 * `YYYY-MM-DD HH:MM:SS[.f{1,6}]`, with `+00` behind it where `zoned`, as [days, micros of the day] put into `out`.
 * False where the text is anything else.
 */
export function parseTimestamp(
  buffer: Buffer,
  start: number,
  end: number,
  zoned: boolean,
  out: { days: number; micros: number },
): boolean {
  let stop = end
  if (zoned) {
    if (end - start < 22 || buffer[end - 3] !== 43 || buffer[end - 2] !== 48 || buffer[end - 1] !== 48)
      return false
    stop = end - 3
  }
  const length = stop - start
  if (
    length < 19 ||
    length === 20 ||
    length > 26 ||
    buffer[start + 10] !== 32 ||
    buffer[start + 13] !== 58 ||
    buffer[start + 16] !== 58
  )
    return false
  const days = parseDate(buffer, start, start + 10)
  if (days === undefined) return false
  let micros = 0
  if (length > 19) {
    if (buffer[start + 19] !== 46) return false
    let scale = 100_000
    for (let at = start + 20; at < stop; at++, scale /= 10) {
      const digit = buffer[at]! - 48
      if (digit < 0 || digit > 9) return false
      micros += digit * scale
    }
    // A trailing zero is never printed; such text would not come back the same.
    if (buffer[stop - 1] === 48) return false
  }
  micros +=
    (two(buffer, start + 11) * 3600 + two(buffer, start + 14) * 60 + two(buffer, start + 17)) * 1_000_000
  if (Number.isNaN(micros) || micros >= DAY_MICROS) return false
  out.days = days
  out.micros = micros
  return true
}

/** Microseconds since 1970 as a bigint, from what parseTimestamp gives. */
export function microsOf(days: number, micros: number): bigint {
  return BigInt(days) * BigInt(DAY_MICROS) + BigInt(micros)
}

/** True where days * 86,400,000,000 + micros is a safe integer: years 1685 to 2254. */
export function isSafeMicros(days: number): boolean {
  return days > -104_000 && days < 104_000
}

export { DAY_MICROS }

const pad2 = Array.from({ length: 100 }, (_, n) => String(n).padStart(2, '0'))

/** Days since 1970 as `YYYY-MM-DD`. */
export function formatDate(days: number): string {
  const z = days + 719468
  const era = Math.floor(z / 146097)
  const dayOfEra = z - era * 146097
  const yearOfEra = Math.floor(
    (dayOfEra - Math.floor(dayOfEra / 1460) + Math.floor(dayOfEra / 36524) - Math.floor(dayOfEra / 146096)) /
      365,
  )
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100))
  const mp = Math.floor((5 * dayOfYear + 2) / 153)
  const day = dayOfYear - Math.floor((153 * mp + 2) / 5) + 1
  const month = mp < 10 ? mp + 3 : mp - 9
  const year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
  return `${String(year).padStart(4, '0')}-${pad2[month]}-${pad2[day]}`
}

/** The text that the server prints under DateStyle ISO. */
export function formatTimestamp(days: number, microsOfDay: number): string {
  const seconds = Math.floor(microsOfDay / 1_000_000)
  const micros = microsOfDay - seconds * 1_000_000
  const hours = Math.floor(seconds / 3600)
  const minutes = Math.floor((seconds - hours * 3600) / 60)
  const text = `${formatDate(days)} ${pad2[hours]}:${pad2[minutes]}:${pad2[seconds % 60]}`
  if (micros === 0) return text
  let fraction = String(micros).padStart(6, '0')
  while (fraction.endsWith('0')) fraction = fraction.slice(0, -1)
  return `${text}.${fraction}`
}

/** Splits microseconds since 1970 into [days, micros of the day]. */
export function splitMicros(micros: number): [number, number] {
  const days = Math.floor(micros / DAY_MICROS)
  return [days, micros - days * DAY_MICROS]
}

/** Microseconds since 1970 as RFC 3339 in UTC, for people. */
export function formatInstant(micros: bigint): string {
  const days =
    Number(micros / BigInt(DAY_MICROS)) - (micros < 0n && micros % BigInt(DAY_MICROS) !== 0n ? 1 : 0)
  const rest = Number(micros - BigInt(days) * BigInt(DAY_MICROS))
  return `${formatTimestamp(days, rest).replace(' ', 'T')}Z`
}

/** Microseconds since 1970 of an RFC 3339 instant in UTC, to the last digit (Date.parse stops at milliseconds). */
export function parseInstant(text: string): bigint {
  const [whole = '', fraction = ''] = text.replace(/Z$/, '').split('.')
  return BigInt(Date.parse(`${whole}Z`)) * 1000n + BigInt(fraction.padEnd(6, '0') || '0')
}

/** The later of two such instants. */
export function laterInstant(a: string | undefined, b: string): string {
  return a !== undefined && parseInstant(a) > parseInstant(b) ? a : b
}
