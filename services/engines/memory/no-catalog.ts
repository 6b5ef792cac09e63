/** What a source in memory says of its catalog: its tables are always recorded, have their identity, and are published. */
import type { CatalogRepair, IdentityCare, LeftOutTable } from '../../core/ports/source.ts'

export const NO_CATALOG = {
  repairCatalog: (): Promise<CatalogRepair> => Promise.resolve({ recorded: undefined, failed: [] }),
  tendIdentities: (): Promise<IdentityCare> => Promise.resolve({ recorded: [], changes: [] }),
  leftOut: (): Promise<readonly LeftOutTable[]> => Promise.resolve([]),
  forgetDdl: (): Promise<void> => Promise.resolve(),
}
