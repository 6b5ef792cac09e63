/** Readings of before have no OIDs: what was dropped behind them is told by its name, but not where several have that. */
import { expect, test } from 'vitest'
import { parsePosition } from '../../services/core/position.ts'
import type { SchemaFacts, SchemaStatement } from '../../services/core/transaction.ts'
import { parseDdlRecord } from '../../services/engines/postgres/dialect/ddl-record.ts'
import { patchedSchema } from '../../services/engines/postgres/dialect/patched-schema.ts'
import type { PlacedDdl } from '../../services/engines/postgres/dialect/placed-records.ts'

function routine(name: string, args: string, of?: string): SchemaStatement {
  return {
    sql: `CREATE OR REPLACE FUNCTION public.${name}(${args}) RETURNS integer LANGUAGE sql AS 'SELECT 1'`,
    rank: 10,
    phase: 'before',
    objects: [{ kind: 'function', schema: 'public', name }],
    ...(of === undefined ? {} : { of }),
  }
}

function drop(oid: number, name: string, args: string): PlacedDdl {
  const facts = { type: 'function', identity: `public.${name}(${args})`, names: ['public', name] }
  const row = {
    id: '1',
    xid: '5',
    command: 'DROP FUNCTION',
    kind: 'drop',
    oid: String(oid),
    class: 'pg_proc',
  }
  return {
    position: parsePosition('0/10'),
    ordinal: 0,
    record: parseDdlRecord({ ...row, facts: JSON.stringify(facts) }),
  }
}

function after(
  statements: readonly SchemaStatement[],
  ...records: readonly PlacedDdl[]
): ReturnType<typeof patchedSchema> {
  const facts: SchemaFacts = { snapshot: '5:5:', ddlSeen: [], statements, notes: [] }
  return patchedSchema(facts, records, new Map(), new Map())
}

test('one of several functions of a name is told by its OID', () => {
  const [one, two] = [routine('f', 'integer', 'pg_proc:7'), routine('f', 'text', 'pg_proc:8')]
  expect(after([one, two], drop(7, 'f', 'integer'))).toEqual({ statements: [two], notes: [], leftOut: [] })
})

test('without OIDs a function that is alone of its name goes; of several none does, and a note names it', () => {
  const [one, two, alone] = [routine('f', 'integer'), routine('f', 'text'), routine('g', '')]
  expect(after([one, two, alone], drop(9, 'g', ''))).toEqual({
    statements: [one, two],
    notes: [],
    leftOut: [],
  })
  const found = after([one, two], drop(7, 'f', 'integer'))
  expect(found.statements).toEqual([one, two])
  expect(found.notes).toEqual([expect.stringContaining('drop of function public.f(integer)')])
})

/** As sources with functions up to version 17 recorded what a command at a parent did to a partitioned table below it. */
function descendant(facts: object): PlacedDdl {
  const table = { oid: 7, schema: 'public', name: 'below', kind: 'p', persistence: 'p', replicaIdentity: 'd' }
  return {
    position: parsePosition('0/10'),
    ordinal: 0,
    record: parseDdlRecord({
      id: '1',
      xid: '5',
      command: 'CREATE INDEX',
      kind: 'descendant',
      oid: '7',
      class: 'pg_class',
      facts: JSON.stringify({ ...table, ...facts }),
    }),
  }
}

function droppedIndex(name: string): PlacedDdl {
  const row = { id: '2', xid: '5', command: 'DROP INDEX', kind: 'drop', oid: '9', class: 'pg_class' }
  const facts = JSON.stringify({
    type: 'index',
    identity: `public.${name}`,
    names: ['public', name],
  })
  return { position: parsePosition('0/10'), ordinal: 0, record: parseDdlRecord({ ...row, facts }) }
}

function partOfBelow(kind: string, name: string, sql: string, of = 'pg_class:7'): SchemaStatement {
  return { sql, rank: 50, phase: 'after', objects: [{ kind, schema: 'public', table: 'below', name }], of }
}

test('a table without rows of its own stays as it was read, with the parts that came and without those that went', () => {
  const made: SchemaStatement = {
    sql: 'CREATE TABLE public.below (id int) PARTITION BY HASH (id)',
    rank: 20,
    phase: 'before',
    objects: [{ kind: 'table', schema: 'public', name: 'below' }],
    of: 'pg_class:7',
  }
  const [stays, goes] = [
    partOfBelow('constraint', 'stays', 'ALTER TABLE public.below ADD CONSTRAINT stays CHECK (id > 0)'),
    partOfBelow('constraint', 'goes', 'ALTER TABLE public.below ADD CONSTRAINT goes CHECK (id > 1)'),
  ]
  const index = {
    schema: 'public',
    name: 'below_id',
    definition: 'CREATE INDEX below_id ON ONLY public.below USING btree (id)',
    clustered: false,
    identity: false,
    parentIndex: 'public.above_id',
  }
  const found = after([made, stays, goes], descendant({ indexes: [index], goneConstraints: ['goes'] }))
  expect(found.statements.map(({ sql }) => sql)).toEqual([
    made.sql,
    index.definition,
    stays.sql,
    'ALTER INDEX public.above_id ATTACH PARTITION "public"."below_id"',
  ])
  expect(found.notes).toEqual([])
  const dropped = droppedIndex('below_id')
  const [came, came2] = [descendant({ indexes: [index] }), descendant({ indexes: [index] })]
  expect(after([made], came, dropped).statements).toEqual([made])
  expect(after([made], came, dropped, came2).statements).toHaveLength(3)
  const column = { attnum: 2, name: 'v', typeOid: 25, typmod: -1, type: 'text', notNull: false, identity: '' }
  const rest = { generated: '', default: null, hasMissing: false, missing: null, collation: null }
  const more = { storage: null, compression: null, statistics: null, local: false }
  expect(after([made], descendant({ columns: [{ ...column, ...rest, ...more }] }))).toEqual({
    statements: [made],
    notes: [expect.stringContaining('public.below')],
    leftOut: [{ object: 'table public.below', reason: expect.stringContaining('its columns') as string }],
  })
})
