/** A table as PostgreSQL's catalog has it: what everybody needs of it, and beside that what its own dialect does. */
import type { TableColumn, TableVersion } from '../../../core/relation.ts'

/** From pg_attribute. */
export interface CatalogColumn extends TableColumn {
  readonly attnum: number
  readonly typeOid: number
  readonly typmod: number
  readonly notNull: boolean
  /** '' | 'a' (always) | 'd' (by default) */
  readonly identity: string
  /** '' | 's' (stored) | 'v' (virtual) */
  readonly generated: string
  /** False where the column has no default: rows written before it existed then have null. */
  readonly hasDefault: boolean
}

/** From pg_class. */
export interface CatalogTable extends TableVersion {
  /** relkind: r table, p partitioned */
  readonly kind: string
  /** relpersistence: p permanent, u unlogged, t temporary */
  readonly persistence: string
  readonly columns: readonly CatalogColumn[]
}
