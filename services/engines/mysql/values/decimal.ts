/** DECIMAL as the storage engines and the binlog have it: groups of nine digits in four bytes, big-endian (MySQL, strings/decimal.cc). */

/** Bytes of 0 to 9 digits. */
const DIGIT_BYTES = [0, 1, 1, 2, 2, 3, 3, 4, 4, 4] as const
const GROUP = 9

/** @param precision digits in all, 1 to 65. @param scale digits behind the point, 0 to 38 */
export function decimalBytes(precision: number, scale: number): number {
  const whole = precision - scale
  return (
    Math.floor(whole / GROUP) * 4 +
    DIGIT_BYTES[whole % GROUP]! +
    Math.floor(scale / GROUP) * 4 +
    DIGIT_BYTES[scale % GROUP]!
  )
}

/** As the server prints it: no zeros in front but one before the point, all of the scale's digits behind it. */
export function decimalText(bytes: Buffer, start: number, precision: number, scale: number): string {
  const length = decimalBytes(precision, scale)
  // A copy: the sign is the first bit, inverted, and a negative number has all others inverted too.
  const own = Uint8Array.prototype.slice.call(bytes, start, start + length)
  const negative = (own[0]! & 0x80) === 0
  own[0]! ^= 0x80
  if (negative) for (let i = 0; i < length; i++) own[i]! ^= 0xff
  let at = 0
  const read = (digits: number): string => {
    let value = 0
    for (let i = DIGIT_BYTES[digits]!; i > 0; i--) value = value * 256 + own[at++]!
    return digits === 0 ? '' : String(value).padStart(digits, '0')
  }
  const whole = precision - scale
  let text = read(whole % GROUP)
  for (let i = Math.floor(whole / GROUP); i > 0; i--) text += read(GROUP)
  let fraction = ''
  for (let i = Math.floor(scale / GROUP); i > 0; i--) fraction += read(GROUP)
  fraction += read(scale % GROUP)
  const digits = text.replace(/^0+(?=.)/, '')
  const shown = `${digits === '' ? '0' : digits}${scale === 0 ? '' : `.${fraction}`}`
  return negative && /[1-9]/.test(shown) ? `-${shown}` : shown
}
