/** A table as a copy stores it: what makes it, and what its rows are stored as. */
import { createHash } from 'node:crypto'
import { z } from 'zod'
import { corrupt } from '../../../core/byte-source.ts'
import type { TableDocument, TableStep, TableSteps } from '../../../core/ports/dialect.ts'
import type { RelationVersion, TableVersion } from '../../../core/relation.ts'
import type { SchemaStatement } from '../../../core/transaction.ts'
import { RANK, schemaStatement } from '../../../formats/rank.ts'
import { createParts } from './create-table.ts'
import { quoteName, type TableName } from './names.ts'

const column = z.object({
  name: z.string(),
  kind: z.enum(['int', 'long', 'float', 'double', 'bytes', 'date', 'timestamp', 'timestamptz', 'text']),
  native: z.string(),
  modifier: z.string(),
  /** COLUMN_TYPE */
  type: z.string(),
  isStored: z.boolean(),
})

const tableFacts = z.object({
  schema: z.string(),
  name: z.string(),
  /** SHOW CREATE TABLE, in the table's own database. */
  create: z.string(),
  columns: z.array(column),
  /** Of the primary key; empty for none. */
  key: z.array(z.string()),
})
export type TableFacts = z.infer<typeof tableFacts>

/**
 * Tables have no number of their own that lasts: this one comes from the name, and a table that takes a name over is another one
 * from its record on.
 */
export function tableId({ schema, name }: TableName): number {
  return createHash('sha256')
    .update(JSON.stringify([schema, name]))
    .digest()
    .readUInt32BE(0)
}

export function tableKeyOf({ schema, name }: TableName): string {
  return `table:${tableId({ schema, name })}`
}

export class MysqlTable implements TableDocument {
  readonly facts: TableFacts
  readonly version: TableVersion
  readonly relation: RelationVersion
  readonly hasRows = true
  readonly extension = undefined

  constructor(facts: TableFacts) {
    this.facts = facts
    const { schema, name, columns, key } = facts
    const identity = key.length === 0 ? 'full' : 'default'
    const oid = tableId(facts)
    this.version = {
      oid,
      schema,
      name,
      identity,
      keyColumns: key,
      columns: columns.map(({ name: called, native, type, isStored }, i) => ({
        id: i + 1,
        name: called,
        native,
        type,
        isStored,
      })),
    }
    this.relation = {
      oid,
      schema,
      name,
      identity,
      columns: columns
        .filter(({ isStored }) => isStored)
        .map(({ name: called, kind, native, modifier }) => ({
          name: called,
          kind,
          native,
          modifier,
          key: identity === 'full' || key.includes(called),
        })),
    }
  }

  /** @throws TidemarkError OBJECT_CORRUPT */
  static parse(text: string): MysqlTable {
    const parsed = tableFacts.safeParse(JSON.parse(text))
    if (!parsed.success) throw corrupt('a table is stored in no known form')
    return new MysqlTable(parsed.data)
  }

  statements(): readonly SchemaStatement[] {
    const { schema, name } = this.facts
    const { bare, keys, special, foreignKeys } = createParts(this.facts.create)
    const alter = `ALTER TABLE ${quoteName(name)} `
    const adds = (definitions: readonly string[]): string =>
      alter + definitions.map((definition) => `ADD ${definition}`).join(', ')
    const index = (sql: string, called: string): SchemaStatement =>
      schemaStatement(RANK.index, { kind: 'index', schema, name: called, table: name }, sql)
    const all = [
      schemaStatement(RANK.create, { kind: 'table', schema, name }, bare),
      // All at once: the rows are read and sorted in one pass.
      ...(keys.length === 0 ? [] : [index(adds(keys), 'keys')]),
      ...special.map((definition) => index(adds([definition]), nameIn(definition))),
      ...foreignKeys.map((definition) =>
        schemaStatement(
          RANK.foreignKey,
          { kind: 'foreignKey', schema, name: nameIn(definition), table: name },
          adds([definition]),
        ),
      ),
    ]
    return all.map((statement) => ({ ...statement, of: tableKeyOf(this.facts) }))
  }
}

function nameIn(definition: string): string {
  return /`((?:[^`]|``)*)`/.exec(definition)?.[1]?.replaceAll('``', '`') ?? ''
}

interface MysqlStep extends TableStep {
  readonly table: MysqlTable
}

export interface MysqlSteps extends TableSteps {
  readonly steps: readonly MysqlStep[]
  readonly last: MysqlStep | undefined
}
