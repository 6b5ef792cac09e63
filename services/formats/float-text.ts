/**
 * Floats as their server prints them (Ryu, as in d2s.c and f2s.c; extra_float_digits above 0): the shortest digits that lie
 * strictly between the neighbours' midpoints, fixed where the exponent is small, else `1.5e-05`. JavaScript has the same digits
 * but for two things: it takes a midpoint itself where the mantissa is even, and it knows no shorter form of a float4.
 */

/** The decimal exponents that are printed without an `e`: from -4 up to and without this one. */
const FIXED_BELOW_FLOAT4 = 6
const FIXED_BELOW_FLOAT8 = 15

const bits = new DataView(new ArrayBuffer(8))

/** Digits without a dot and without zeros at either end; the value is 0.DIGITS times ten to the power of `point`. */
interface Decimal {
  readonly digits: string
  readonly point: number
}

export function float8Text(value: number): string {
  const size = Math.abs(value)
  if (size >= 1e-4 && size < 1e15) return String(value)
  return special(value) ?? signed(value, print(float8Digits(size), FIXED_BELOW_FLOAT8))
}

/** @param value a number that a float4 holds */
export function float4Text(value: number): string {
  return special(value) ?? signed(value, print(float4Digits(Math.abs(value)), FIXED_BELOW_FLOAT4))
}

function special(value: number): string | undefined {
  if (value === 0) return Object.is(value, -0) ? '-0' : '0'
  return Number.isFinite(value) ? undefined : String(value)
}

function signed(value: number, text: string): string {
  return value < 0 ? `-${text}` : text
}

function print({ digits, point }: Decimal, fixedBelow: number): string {
  const exponent = point - 1
  if (exponent >= -4 && exponent < fixedBelow) {
    if (point <= 0) return `0.${'0'.repeat(-point)}${digits}`
    if (point >= digits.length) return digits.padEnd(point, '0')
    return `${digits.slice(0, point)}.${digits.slice(point)}`
  }
  const fraction = digits.length > 1 ? `.${digits.slice(1)}` : ''
  const size = String(Math.abs(exponent)).padStart(2, '0')
  return `${digits[0]!}${fraction}e${exponent < 0 ? '-' : '+'}${size}`
}

/** Of what JavaScript prints: `123.45`, `1.5e-7`. */
function decimalOf(text: string): Decimal {
  const [number = '', exponent = '0'] = text.split('e')
  const [whole = '', fraction = ''] = number.split('.')
  const all = whole + fraction
  const digits = all.replace(/^0+/, '')
  return {
    digits: digits.replace(/0+$/, ''),
    point: whole.length + Number(exponent) - (all.length - digits.length),
  }
}

/** A midpoint of two float8 is a decimal of at most 17 digits only in this range: 54 bits leave room for few factors of ten. */
const MIDPOINTS_FROM = 2 ** 52
const MIDPOINTS_BELOW = 1e41

function float8Digits(size: number): Decimal {
  if (size >= MIDPOINTS_FROM && size < MIDPOINTS_BELOW) {
    bits.setFloat64(0, size)
    const word = bits.getBigUint64(0)
    const mantissa = word & 0xfffffffffffffn
    return exactDigits(mantissa | 0x10000000000000n, Number(word >> 52n) - 1075, mantissa === 0n)
  }
  return decimalOf(String(size))
}

function float4Digits(size: number): Decimal {
  bits.setFloat32(0, size)
  const word = bits.getUint32(0)
  const mantissa = word & 0x7fffff
  const exponent = word >>> 23
  // Denormals have less than six digits, and behind a power of two the interval is lopsided.
  if (exponent === 0) return exactDigits(BigInt(mantissa), -149, false)
  if (mantissa === 0) return exactDigits(0x800000n, exponent - 150, exponent > 1)
  // No two decimals of six digits are one float4, so the first that comes back is the shortest.
  for (let precision = 6; precision < 10; precision++) {
    const text = size.toPrecision(precision)
    const double = Number(text)
    bits.setFloat64(0, double)
    // Rounded to the midpoint of two float4 on its way, it says nothing.
    if ((bits.getUint32(4) & 0x1fffffff) === 0x10000000) break
    if (Math.fround(double) !== size) continue
    // JavaScript rounds what lies halfway up, the server to the even digit.
    const finer = size.toPrecision(precision + 1)
    if (/5(e|$)/.test(finer) && Number(finer) === size) break
    return decimalOf(text)
  }
  return exactDigits(BigInt(mantissa | 0x800000), exponent - 150, false)
}

/**
 * The shortest decimal strictly between the midpoints around mantissa * 2^exponent, the nearest of several.
 *
 * @param isLopsided the number below is half as far away as the one above
 */
function exactDigits(mantissa: bigint, exponent: number, isLopsided: boolean): Decimal {
  // All in quarters of the mantissa's unit, over one denominator.
  const up = exponent - 2 > 0 ? 1n << BigInt(exponent - 2) : 1n
  const denominator = exponent - 2 < 0 ? 1n << BigInt(2 - exponent) : 1n
  const value = 4n * mantissa * up
  const low = value - (isLopsided ? 1n : 2n) * up
  const high = value + 2n * up
  const point = Math.floor(Math.log10(Number(mantissa)) + exponent * Math.LOG10E * Math.LN2) + 1
  for (let precision = 1; ; precision++) {
    // One more than the estimate may need: a logarithm right below a power of ten is rounded to it.
    const power = point - precision
    const unit = power > 0 ? 10n ** BigInt(power) : 1n
    const scale = power < 0 ? 10n ** BigInt(-power) : 1n
    const step = unit * denominator
    const below = (value * scale) / step
    const inside = [below, below + 1n].filter((n) => n * step > low * scale && n * step < high * scale)
    if (inside.length === 0) continue
    const distance = (n: bigint): bigint => {
      const far = n * step - value * scale
      return far < 0n ? -far : far
    }
    const [first, second] = inside as [bigint, bigint?]
    const isSecond =
      second !== undefined &&
      (distance(second) < distance(first) || (distance(second) === distance(first) && first % 2n === 1n))
    const text = (isSecond ? second : first).toString()
    return { digits: text.replace(/0+$/, ''), point: point + text.length - precision }
  }
}
