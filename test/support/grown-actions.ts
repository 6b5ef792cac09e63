/** Everything that may happen to a database in a random history, each kind by its name. */
import type { Action } from './grown-dice.ts'
import { COLUMNS, TABLES } from './grown-tables.ts'
import { FAMILIES, KEYS } from './grown-keys.ts'
import { PARTITIONS } from './grown-partitions.ts'
import { OTHERS, RIGHTS, SEQUENCES } from './grown-objects.ts'

export const ACTIONS: Readonly<Record<string, Action>> = {
  ...TABLES,
  ...COLUMNS,
  ...KEYS,
  ...FAMILIES,
  ...PARTITIONS,
  ...RIGHTS,
  ...SEQUENCES,
  ...OTHERS,
}

/** What may run beside a prepared transaction without waiting for it long. */
export const LIGHT: ReadonlySet<string> = new Set([
  'insert',
  'nextval',
  'setval',
  'createTable',
  'passingTable',
  'function',
])

/** What a point behind quick commands ends with. */
export const QUICK: ReadonlySet<string> = new Set(Object.keys(PARTITIONS))

/** What begins one. */
export const TREE: ReadonlySet<string> = new Set(['tree'])
