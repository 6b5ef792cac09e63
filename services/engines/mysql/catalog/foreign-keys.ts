/** Foreign keys that change rows by themselves: the log never has those changes (hazard 58). */
import type mysql from 'mysql2/promise'

/** Both tables as `cascadeKey` names them: keys lead from one database into another. */
export interface Cascade {
  readonly parent: string
  readonly child: string
  readonly name: string
  readonly onDelete: boolean
  readonly onUpdate: boolean
  /** Of the parent. */
  readonly columns: readonly string[]
}

/** A table of our database by its name alone, another one's by both names. */
export function cascadeKey(ours: string, schema: string, name: string): string {
  return schema === ours ? name : `${schema}\0${name}`
}

/** Whether it names a table of our database. */
export function isOurs(key: string): boolean {
  return !key.includes('\0')
}

const ACTS = /^(CASCADE|SET NULL|SET DEFAULT)$/

export async function readCascades(
  connection: mysql.Connection,
  schema: string,
): Promise<readonly Cascade[]> {
  const [rows] = await connection.query<mysql.RowDataPacket[]>(
    `SELECT r.CONSTRAINT_NAME AS name, r.CONSTRAINT_SCHEMA AS cs, r.TABLE_NAME AS child, r.UNIQUE_CONSTRAINT_SCHEMA AS ps, r.REFERENCED_TABLE_NAME AS parent, r.DELETE_RULE AS d, r.UPDATE_RULE AS u, k.REFERENCED_COLUMN_NAME AS c
       FROM information_schema.REFERENTIAL_CONSTRAINTS r JOIN information_schema.KEY_COLUMN_USAGE k
         ON k.CONSTRAINT_SCHEMA = r.CONSTRAINT_SCHEMA AND k.CONSTRAINT_NAME = r.CONSTRAINT_NAME AND k.TABLE_NAME = r.TABLE_NAME
      WHERE k.REFERENCED_COLUMN_NAME IS NOT NULL ORDER BY 2, 3, 1, k.ORDINAL_POSITION`,
  )
  const found = new Map<string, Cascade & { readonly columns: string[] }>()
  for (const row of rows) {
    const child = cascadeKey(schema, String(row['cs']), String(row['child']))
    const name = String(row['name'])
    const key = JSON.stringify([child, name])
    const held = found.get(key)
    if (held !== undefined) held.columns.push(String(row['c']))
    else
      found.set(key, {
        parent: cascadeKey(schema, String(row['ps']), String(row['parent'])),
        child,
        name,
        onDelete: ACTS.test(String(row['d'])),
        onUpdate: ACTS.test(String(row['u'])),
        columns: [String(row['c'])],
      })
  }
  return [...found.values()].filter(({ onDelete, onUpdate }) => onDelete || onUpdate)
}

/** Every table that a change of one may change, however long the chain. */
export function cascadesFrom(cascades: readonly Cascade[], first: readonly string[]): readonly string[] {
  const reached = new Set(first)
  for (const table of reached)
    for (const { parent, child } of cascades) if (parent === table) reached.add(child)
  return [...reached]
}
