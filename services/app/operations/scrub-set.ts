/** All stores of an opened backup, scrubbed. */
import { CopySet } from '../../repository/copy-set.ts'
import { scrub, type ScrubOptions, type ScrubReport } from '../../lifecycle/scrub.ts'
import type { OpenedBackup } from '../wiring/open-backup.ts'

export function scrubSet(
  { repository, copies }: Pick<OpenedBackup, 'repository' | 'copies'>,
  share: ScrubOptions['share'],
  signal: AbortSignal,
  onProgress?: (objects: number) => void,
): Promise<ScrubReport> {
  const { ledger, catalog } = repository
  const primary = ledger.store instanceof CopySet ? ledger.store.primary : ledger.store
  return scrub({
    ledger,
    stream: catalog.stream,
    floor: catalog.floor,
    stores: [primary, ...copies.map((copy) => copy.store)],
    share,
    known: catalog.damage.above(catalog.floor),
    signal,
    ...(onProgress === undefined ? {} : { onProgress }),
  })
}
