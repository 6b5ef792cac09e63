/** What a target's refusals are: of one statement or one table, or of the restore as a whole. */
import { TidemarkError } from '../../../core/errors.ts'
import { serverText, sqlState } from '../session/session.ts'

export function isOfServer(error: unknown): boolean {
  return /^(?!E[A-Z]+$)[0-9A-Z]{5}$/.test(sqlState(error) ?? '')
}

/** 58P01: the files of an extension, or a library, that this server does not have. */
export function isOfTheWhole(error: unknown): boolean {
  const state = sqlState(error)
  return state === undefined || /^(08|25006|53|57|58(?!P01))/.test(state)
}

/** What no other statement of the restore would fare better with: no room, a server that stops, a lost connection. */
export function throwOfTheWhole(error: unknown, what: string): void {
  const state = sqlState(error)
  if (state === '53100')
    throw new TidemarkError('TARGET_FULL', `${what}: the target has no room left (${state})`, {
      cause: error,
    })
  if (isOfTheWhole(error))
    throw new TidemarkError('TARGET_FAILED', `${what}: ${serverText(error)}`, { cause: error })
}

/** The server's text for a schema statement: names are no row values, but what rows or functions are told may hold one. */
export function schemaText(error: unknown): string {
  const state = sqlState(error) ?? ''
  if (/^2[23]/.test(state)) return `the rows violate it (${state})`
  if (/^(P0|2F|3[89])/.test(state)) return `a function of the source fails (${state})`
  return error instanceof Error ? `${error.message} (${state})` : 'unknown error'
}
