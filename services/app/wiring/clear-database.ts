/** Whether a database is spoken to in the clear: each engine's URLs ask for encryption in their own way. */
import { clearUrl } from '../../engines/postgres/session/clear-url.ts'
import type { Finding } from '../../core/finding.ts'

/** @param sslMode what the environment says where the URL says nothing */
export function clearDatabase(
  url: string,
  role: 'source' | 'target',
  sslMode: string | undefined,
): Finding | undefined {
  return clearUrl(url, role, sslMode)
}
