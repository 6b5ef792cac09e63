/** A connection to a database that nothing encrypts, told by its URL. */
import { isHere } from '../../../core/exposure.ts'
import type { Finding } from '../../../core/finding.ts'

/** A URL that asks for no encryption, to another machine. @param fallback what PGSSLMODE says */
export function clearUrl(
  url: string,
  role: 'source' | 'target',
  fallback: string | undefined,
): Finding | undefined {
  let parsed: URL
  try {
    parsed = new URL(url)
  } catch {
    // Whoever connects says what is wrong with it.
    return undefined
  }
  const host = decodeURIComponent(parsed.searchParams.get('host') ?? parsed.hostname)
  // Whoever writes `disable` has thought of it.
  const isChosen =
    (parsed.searchParams.get('sslmode') ?? parsed.searchParams.get('ssl') ?? fallback) !== undefined
  if (isHere(host) || isChosen) return undefined
  return {
    level: 'warn',
    code: role === 'source' ? 'SOURCE_CLEAR' : 'TARGET_CLEAR',
    what: `the connection to ${host} is not encrypted: rows, and whatever logs in with them, go over the network in the clear`,
    fix: 'sslmode=verify-full in the URL, with sslrootcert=FILE where the authority is your own; sslmode=disable says that it is meant so',
  }
}
