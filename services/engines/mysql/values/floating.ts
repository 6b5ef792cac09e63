/** FLOAT and DOUBLE as text that reads back as the same bits, in the server's way of writing it (MySQL, strings/dtoa.cc, my_gcvt). */

/** Places of the point up to which there is no exponent. */
const MOST_PLACES = 15

export function doubleText(value: number): string {
  return Object.is(value, -0) ? '-0' : laidOut(String(value))
}

/** The fewest digits that make the same FLOAT; the server itself prints six and loses the rest. */
export function floatText(value: number): string {
  if (Object.is(value, -0)) return '-0'
  for (let digits = 1; digits < 9; digits++) {
    const text = value.toPrecision(digits)
    if (Math.fround(Number(text)) === value) return laidOut(String(Number(text)))
  }
  return laidOut(String(Number(value.toPrecision(9))))
}

/** From the way of JavaScript: other borders for exponents, and no plus in them. */
function laidOut(text: string): string {
  const [, sign = '', whole = '', fraction = '', exponent = '0'] =
    /^(-?)(\d+)(?:\.(\d+))?(?:e([+-]\d+))?$/.exec(text) ?? []
  const all = (whole + fraction).replace(/^0+/, '')
  const digits = all.replace(/0+$/, '')
  if (digits === '') return `${sign}0`
  // Digits in front of the point; 0.00x has minus two.
  const places = whole.length + Number(exponent) - (whole.length + fraction.length - all.length)
  if (places > MOST_PLACES || places < 1 - MOST_PLACES) {
    const rest = digits.slice(1)
    return `${sign}${digits[0]}${rest === '' ? '' : `.${rest}`}e${places - 1}`
  }
  if (places <= 0) return `${sign}0.${'0'.repeat(-places)}${digits}`
  if (places >= digits.length) return `${sign}${digits.padEnd(places, '0')}`
  return `${sign}${digits.slice(0, places)}.${digits.slice(places)}`
}
