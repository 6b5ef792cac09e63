/** What is asked of a source beside its stream, wired. */
import { lookAtHistory } from '../../engines/postgres/source/history-look.ts'
import { MysqlAdmin } from '../../engines/mysql/admin/mysql-admin.ts'
import { MYSQL } from '../../engines/mysql/session/origin.ts'
import { PostgresAdmin } from '../../engines/postgres/admin/postgres-admin.ts'
import { systemClock, systemRandomness } from '../../core/clock.ts'
import type { SourceOrigin } from '../../core/ports/source.ts'
import type { SourceAdmin } from '../../core/ports/source-admin.ts'
import { engineAt } from './dialect.ts'

/** By the settings, by what a generation says of its source, or by its URL alone. */
export function openAdmin(source: {
  readonly url: string
  readonly names?: SourceOrigin | undefined
}): SourceAdmin {
  const { url, names } = source
  if (engineAt(url) === MYSQL)
    return new MysqlAdmin({
      url,
      // What a generation says; the settings name nothing at such a source.
      origin: names?.['gtids'] === undefined ? undefined : names,
      clock: systemClock,
      randomness: systemRandomness,
    })
  return new PostgresAdmin({
    url,
    names,
    clock: systemClock,
    randomness: systemRandomness,
    look: lookAtHistory,
  })
}
