/** Which tables are partitions of which, by the statements that make them so and by records. */
import type { Joined } from '../../../core/ports/dialect.ts'
import type { SchemaStatement } from '../../../core/transaction.ts'
import type { DdlRecord } from './ddl-record.ts'

const ATTACH = /^ALTER TABLE ONLY "((?:[^"]|"")+)"\."((?:[^"]|"")+)" ATTACH PARTITION /

export function joinedBy({ sql, objects: [self] }: SchemaStatement): Joined | undefined {
  const match = ATTACH.exec(sql)
  if (match === null || self?.schema === undefined) return undefined
  const [schema, name] = [match[1]!, match[2]!].map((text) => text.replaceAll('""', '"')) as [string, string]
  return { part: { schema: self.schema, name: self.name }, whole: { schema, name } }
}

export function joinedIn(record: DdlRecord): Joined[] {
  if (record.kind !== 'table' || record.facts.partitionBound === null) return []
  const { schema, name, parents } = record.facts
  return (parents ?? []).map((whole) => ({ part: { schema, name }, whole }))
}
