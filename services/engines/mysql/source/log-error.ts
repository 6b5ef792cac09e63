/** What a server says of its log, as the codes that others go by. */
import { TidemarkError } from '../../../core/errors.ts'

/** ER_MASTER_FATAL_ERROR_READING_BINLOG, ER_GTID_START_FROM_BINLOG_HOLE: why, only their words tell. */
const FATAL = /\((1236|1945)\)/

export function logError(error: unknown): unknown {
  if (!(error instanceof TidemarkError)) return lostConnection(error)
  if (!FATAL.test(error.message)) return error
  if (/purged|could not find|not found|too old|does not exist/i.test(error.message))
    return new TidemarkError(
      'SLOT_LOST',
      `the source removed log that the backup still needed: ${error.message}`,
      {
        cause: error,
      },
    )
  if (/more GTIDs|ahead|not in the master|diverge|hole/i.test(error.message))
    return new TidemarkError('SOURCE_DIVERGED', error.message, { cause: error })
  return error
}

function lostConnection(error: unknown): unknown {
  if (!(error instanceof Error) || !('code' in error)) return error
  const { code } = error
  if (
    code === 'ER_ACCESS_DENIED_ERROR' ||
    code === 'ER_SPECIFIC_ACCESS_DENIED_ERROR' ||
    code === 'ER_TABLEACCESS_DENIED_ERROR'
  )
    return new TidemarkError('SOURCE_PRIVILEGE', error.message, { cause: error })
  const isNetwork =
    /^(E[A-Z]+|PROTOCOL_CONNECTION_LOST|ER_SERVER_SHUTDOWN|ER_CON_COUNT_ERROR)$/.test(String(code)) ||
    /closed state/.test(error.message)
  return isNetwork ? new TidemarkError('SOURCE_UNREACHABLE', error.message, { cause: error }) : error
}
