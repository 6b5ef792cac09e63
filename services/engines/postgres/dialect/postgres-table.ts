/** A table by its facts: what a copy stores of it, and what records say. */
import type { TableDocument, TableStep, TableSteps } from '../../../core/ports/dialect.ts'
import type { RelationVersion } from '../../../core/relation.ts'
import { columnType } from './column-type.ts'
import type { CatalogTable } from './catalog-table.ts'
import { type TableFacts, tableFacts, tableVersion } from './schema-facts.ts'

export class PostgresTable implements TableDocument {
  readonly facts: TableFacts
  readonly version: CatalogTable

  constructor(facts: TableFacts) {
    this.facts = facts
    this.version = tableVersion(facts)
  }

  static parse(text: string): PostgresTable {
    return new PostgresTable(tableFacts.parse(JSON.parse(text)))
  }

  get relation(): RelationVersion {
    const { oid, schema, name, identity, keyColumns, columns } = this.version
    const keys = new Set(keyColumns)
    return {
      oid,
      schema,
      name,
      identity,
      columns: columns
        .filter((c) => c.generated === '')
        .map((c) => ({
          name: c.name,
          ...columnType(c.typeOid, c.typmod),
          key: identity === 'full' || keys.has(c.name),
        })),
    }
  }

  get hasRows(): boolean {
    return this.facts.kind === 'r' && this.facts.persistence === 'p'
  }

  get extension(): string | undefined {
    return this.facts.extension ?? undefined
  }
}

interface PostgresStep extends TableStep {
  readonly table: PostgresTable
}

export interface PostgresSteps extends TableSteps {
  readonly steps: readonly PostgresStep[]
  readonly last: PostgresStep | undefined
}
