/** Every kind of object that is read, in the order in which objects of equal rank are made. */
import { collations } from './collations.ts'
import { defaultPrivileges } from './default-privileges.ts'
import { extensions } from './extensions.ts'
import type { CatalogKind } from './kind.ts'
import { publications } from './publications.ts'
import { roles } from './roles.ts'
import { routines } from './routines.ts'
import { schemas } from './schemas.ts'
import { sequences } from './sequences.ts'
import { statistics } from './statistics.ts'
import { tables } from './tables.ts'
import { types } from './types.ts'
import { views } from './views.ts'

export const KINDS: readonly CatalogKind[] = [
  roles,
  schemas,
  extensions,
  types,
  tables,
  sequences,
  routines,
  views,
  collations,
  statistics,
  defaultPrivileges,
  publications,
]
