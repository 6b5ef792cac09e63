/** Mistakes in our own code, told from outages: what they are, and what may be said of where they arose. */
import { TidemarkError } from './errors.ts'

const OF_LANGUAGE = new Set([
  'TypeError',
  'RangeError',
  'ReferenceError',
  'ZodError',
  '$ZodError',
  'AssertionError',
])
const FRAME = /^\s+at /

/**
 * Whether an error is a mistake in our own code, which no second try mends and which is never an outage: an error of the
 * language, a value that does not have its form, or a plain error that our own code threw. Not where a system's code
 * stands behind it: `fetch` says TypeError of every connection that fails.
 */
export function isMistake(error: unknown): error is Error {
  if (!(error instanceof Error) || error instanceof TidemarkError) return false
  for (let at: unknown = error; at instanceof Error; at = at.cause)
    if (
      'code' in at &&
      typeof at.code === 'string' &&
      !/^ERR_(INVALID|OUT_OF|MISSING|ASSERTION)/.test(at.code)
    )
      return false
  // By name: a library may bring a class of its own, as zod does.
  if (OF_LANGUAGE.has(error.name)) return true
  const place = framesOf(error).find((frame) => !frame.includes('node:'))
  // A class of our own says something: an answer of a service, a value that only text can say.
  return Object.getPrototypeOf(error) === Error.prototype && place !== undefined && isOurs(place)
}

function framesOf(error: Error): string[] {
  return (error.stack ?? '').split('\n').filter((line) => FRAME.test(line))
}

function isOurs(frame: string): boolean {
  return frame.includes('services/') && !frame.slice(frame.lastIndexOf('services/')).includes('node_modules')
}

/**
 * Where an error arose and what it came from, without its texts, which may hold values: codes, the server's routine, and
 * of our own errors what they say, which holds none.
 */
export function stackOf(error: unknown): string {
  const lines: string[] = []
  for (let at: unknown = error; at instanceof Error && lines.length < 100; at = at.cause)
    lines.push(`${lines.length === 0 ? '' : 'caused by '}${titleOf(at)}`, ...framesOf(at))
  return lines.join('\n')
}

function titleOf(error: Error): string {
  if (error instanceof TidemarkError) return `${error.name} ${error.code}: ${error.message}`
  const words = [wordOf(error, 'code'), wordOf(error, 'routine')].filter((word) => word !== undefined)
  return [error.name, ...words].join(' ')
}

/** A name that a system or a server gives; nothing that could hold text of a user's. */
function wordOf(error: Error, field: 'code' | 'routine'): string | undefined {
  const value: unknown = (error as Error & Record<typeof field, unknown>)[field]
  return typeof value === 'string' && /^[A-Za-z0-9_]{1,60}$/.test(value) ? value : undefined
}
