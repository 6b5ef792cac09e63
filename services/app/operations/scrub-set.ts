/** All stores of an opened backup, scrubbed. */
import { scrub, type ScrubOptions, type ScrubReport } from '../../lifecycle/scrub.ts'
import type { OpenedBackup } from '../wiring/open-backup.ts'

export function scrubSet(
  { repository, copies }: Pick<OpenedBackup, 'repository' | 'copies'>,
  share: ScrubOptions['share'],
  signal: AbortSignal,
  onProgress?: (objects: number) => void,
): Promise<ScrubReport> {
  const { ledger, catalog, stores } = repository
  return scrub({
    ledger,
    stream: catalog.stream,
    floor: catalog.floor,
    stores: [stores.primary, ...copies.map((copy) => copy.store)],
    share,
    known: catalog.damage.above(catalog.floor),
    signal,
    ...(onProgress === undefined ? {} : { onProgress }),
  })
}
