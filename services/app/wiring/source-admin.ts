/** What is asked of a source beside its stream, wired. */
import { lookAtHistory } from '../../engines/postgres/source/history-look.ts'
import { PostgresAdmin } from '../../engines/postgres/admin/postgres-admin.ts'
import { systemClock, systemRandomness } from '../../core/clock.ts'
import type { SourceOrigin } from '../../core/ports/source.ts'
import type { SourceAdmin } from '../../core/ports/source-admin.ts'

/** By the settings, by what a generation says of its source, or by its URL alone. */
export function openAdmin(source: {
  readonly url: string
  readonly names?: SourceOrigin | undefined
}): SourceAdmin {
  const { url, names } = source
  return new PostgresAdmin({
    url,
    names,
    clock: systemClock,
    randomness: systemRandomness,
    look: lookAtHistory,
  })
}
