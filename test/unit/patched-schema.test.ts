/** Readings of before have no OIDs: what was dropped behind them is told by its name, but not where several have that. */
import { expect, test } from 'vitest'
import { parsePosition } from '../../services/core/position.ts'
import type { SchemaFacts, SchemaStatement } from '../../services/core/transaction.ts'
import { parseDdlRecord } from '../../services/formats/ddl-record.ts'
import { patchedSchema } from '../../services/history/patched-schema.ts'
import type { PlacedRecord } from '../../services/history/table-history.ts'

function routine(name: string, args: string, of?: string): SchemaStatement {
  return {
    sql: `CREATE OR REPLACE FUNCTION public.${name}(${args}) RETURNS integer LANGUAGE sql AS 'SELECT 1'`,
    rank: 10,
    phase: 'before',
    objects: [{ kind: 'function', schema: 'public', name }],
    ...(of === undefined ? {} : { of }),
  }
}

function drop(oid: number, name: string, args: string): PlacedRecord {
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
  record: PlacedRecord,
): ReturnType<typeof patchedSchema> {
  const facts: SchemaFacts = { snapshot: '5:5:', ddlSeen: [], statements, notes: [] }
  return patchedSchema(facts, [record], new Map(), new Map())
}

test('one of several functions of a name is told by its OID', () => {
  const [one, two] = [routine('f', 'integer', 'pg_proc:7'), routine('f', 'text', 'pg_proc:8')]
  expect(after([one, two], drop(7, 'f', 'integer'))).toEqual({ statements: [two], notes: [] })
})

test('without OIDs a function that is alone of its name goes; of several none does, and a note names it', () => {
  const [one, two, alone] = [routine('f', 'integer'), routine('f', 'text'), routine('g', '')]
  expect(after([one, two, alone], drop(9, 'g', ''))).toEqual({ statements: [one, two], notes: [] })
  const found = after([one, two], drop(7, 'f', 'integer'))
  expect(found.statements).toEqual([one, two])
  expect(found.notes).toEqual([expect.stringContaining('drop of function public.f(integer)')])
})
