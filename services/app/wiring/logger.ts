/** Logs: pino, one JSON line each on standard error. No row value and no secret is ever given to it; URLs are redacted here as a second line of defence. */
import { pino, type Logger } from 'pino'

export type { Logger }

const SECRETS = [
  'url',
  '*.url',
  'password',
  '*.password',
  'sourceUrl',
  'storeUrl',
  'secret',
  '*.secret',
  'connectionString',
  '*.connectionString',
]

export function createLogger(level: string): Logger {
  return pino(
    { level, base: null, timestamp: pino.stdTimeFunctions.isoTime, redact: { paths: SECRETS, censor: '…' } },
    pino.destination({ dest: 2, sync: true }),
  )
}
