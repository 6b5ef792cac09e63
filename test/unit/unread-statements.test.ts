/** Readings that older versions kept: an object that was dropped while it was read stands there without SQL. */
import { expect, test } from 'vitest'
import type { SchemaFacts, SchemaStatement } from '../../services/core/transaction.ts'
import {
  parseSchemaChange,
  schemaChange,
  withChange,
  withoutUnread,
} from '../../services/formats/schema-change.ts'

const made: SchemaStatement = {
  sql: 'CREATE SCHEMA app',
  phase: 'before',
  rank: -20,
  objects: [{ kind: 'schema', name: 'app' }],
}
const before: SchemaFacts & { reading: string } = {
  reading: 'one',
  snapshot: '1:1:',
  ddlSeen: [],
  statements: [made],
  notes: [],
}

test('such a reading is read, the rest of it serves, and the object is named', () => {
  const lost = {
    ...made,
    sql: null,
    objects: [{ kind: 'statistics', schema: 'app', name: 'pair' }],
  }
  const after = { ...before, reading: 'two', statements: [lost as unknown as SchemaStatement, made] }
  const kept = Buffer.from(JSON.stringify(schemaChange(before, after)))
  const facts = withoutUnread(withChange(before, parseSchemaChange(kept)))
  expect(facts.statements).toEqual([made])
  expect(facts.notes).toEqual([expect.stringMatching(/^statistics app\.pair: dropped while/)])
  expect(withoutUnread(before)).toBe(before)
})
