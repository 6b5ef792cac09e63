/**
 * Errors as coded values (error-codes.ts has the table). The message of an error says what happened, without row values
 * and secrets.
 */
import type { Retry } from './code-facts.ts'
import { type ErrorCode, factsOf } from './error-codes.ts'

export class TidemarkError extends Error {
  readonly code: ErrorCode
  /** Overrides the table's `next` where the place of failure knows better. */
  readonly #next: string | undefined
  /** Overrides the table's `means`. */
  readonly #means: string | undefined

  constructor(
    code: ErrorCode,
    message: string,
    options: { cause?: unknown; next?: string; means?: string } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'TidemarkError'
    this.code = code
    this.#next = options.next
    this.#means = options.means
  }

  get exitCode(): number {
    return factsOf(this.code).exit
  }
  get retry(): Retry {
    return factsOf(this.code).retry
  }
  get means(): string {
    return this.#means ?? factsOf(this.code).means
  }
  get next(): string {
    return this.#next ?? factsOf(this.code).next
  }
}

/** Anything thrown, as a TidemarkError. The text of foreign errors is kept out unless known to hold no row value. */
export function asTidemarkError(error: unknown): TidemarkError {
  if (error instanceof TidemarkError) return error
  if (error instanceof Error && error.name === 'AbortError')
    return new TidemarkError('INTERRUPTED', 'stopped', { cause: error })
  const refused = fileRefused(error)
  if (refused !== undefined) return refused
  const name = error instanceof Error ? error.name : typeof error
  const where =
    error instanceof Error
      ? (error.stack ?? '')
          .split('\n')
          .find((line) => line.includes('services/'))
          ?.trim()
      : undefined
  return new TidemarkError('INTERNAL', `unexpected ${name}${where === undefined ? '' : ` ${where}`}`, {
    cause: error,
  })
}

/** What the system says of a file or a folder that nobody here has looked after: nothing that we got wrong. */
function fileRefused(error: unknown): TidemarkError | undefined {
  if (!(error instanceof Error) || !('code' in error) || !('path' in error)) return undefined
  const { code, path } = error
  if (typeof code !== 'string' || typeof path !== 'string' || !REFUSALS.has(code)) return undefined
  return new TidemarkError('FILE_REFUSED', `${path}: ${code}`, { cause: error })
}

const REFUSALS: ReadonlySet<string> = new Set([
  'EACCES',
  'EPERM',
  'EROFS',
  'ENOSPC',
  'EDQUOT',
  'ENOTDIR',
  'EMFILE',
  'ENFILE',
])

/** A broken assumption of our own: a bug, never an operating error. */
export function must<T>(value: T | undefined | null, what: string): T {
  if (value === undefined || value === null) throw new TidemarkError('INTERNAL', `missing: ${what}`)
  return value
}
