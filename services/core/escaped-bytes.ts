/**
 * Text of a database that may hold any bytes (SQL_ASCII): each byte that is no part of UTF-8 is kept as one lone surrogate,
 * U+DC80 to U+DCFF, as Python's "surrogateescape" does. JSON keeps these, and on the way out they are the bytes again.
 */

const ESCAPE = 0xdc00

/** [start, end) as text: nothing is lost, whatever the bytes. */
export function textOfBytes(buffer: Buffer, start = 0, end = buffer.length): string {
  const text = buffer.toString('utf8', start, end)
  // Where there is none, every byte was understood.
  if (!text.includes('\ufffd')) return text
  let out = ''
  let run = start
  let at = start
  while (at < end) {
    const length = sequenceLength(buffer, at, end)
    if (length > 0) {
      at += length
      continue
    }
    out += buffer.toString('utf8', run, at) + String.fromCharCode(ESCAPE + buffer[at]!)
    run = ++at
  }
  return out + buffer.toString('utf8', run, end)
}

/** Bytes of one character at `at` (Unicode, table 3-7); 0 where they are no UTF-8. */
function sequenceLength(buffer: Buffer, at: number, end: number): number {
  const first = buffer[at]!
  if (first < 0x80) return 1
  const length = first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0
  if (length === 0 || at + length > end) return 0
  const second = buffer[at + 1]!
  const least = first === 0xe0 ? 0xa0 : first === 0xf0 ? 0x90 : 0x80
  const most = first === 0xed ? 0x9f : first === 0xf4 ? 0x8f : 0xbf
  if (second < least || second > most) return 0
  for (let i = 2; i < length; i++) if ((buffer[at + i]! & 0xc0) !== 0x80) return 0
  return length
}

/** Whether the text holds bytes that are no UTF-8. */
export function hasEscapedBytes(text: string): boolean {
  return !text.isWellFormed()
}

/** The bytes that `textOfBytes` read. */
export function bytesOfText(text: string): Buffer {
  if (text.isWellFormed()) return Buffer.from(text, 'utf8')
  const parts: Buffer[] = []
  let run = 0
  for (let at = 0; at < text.length; at++) {
    const code = text.codePointAt(at)!
    if (code > 0xffff) at++
    if (code < ESCAPE + 0x80 || code > ESCAPE + 0xff) continue
    parts.push(Buffer.from(text.slice(run, at), 'utf8'), Buffer.of(code - ESCAPE))
    run = at + 1
  }
  parts.push(Buffer.from(text.slice(run), 'utf8'))
  return Buffer.concat(parts)
}
