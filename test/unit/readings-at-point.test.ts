/** What was being changed while the schema was read is told by its records, and by those of its rights, which name no object. */
import { expect, test } from 'vitest'
import { parsePosition } from '../../services/core/position.ts'
import { parseDdlRecord } from '../../services/engines/postgres/dialect/ddl-record.ts'
import type { PlacedDdl } from '../../services/engines/postgres/dialect/placed-records.ts'
import { PostgresReadings } from '../../services/engines/postgres/dialect/readings-at-point.ts'

function placed(at: string, command: string, kind: string, oid: string | null, facts: object): PlacedDdl {
  const row = { id: '1', xid: at.slice(2), command, kind, oid, facts: JSON.stringify(facts) }
  return { position: parsePosition(at), ordinal: 0, record: parseDdlRecord({ ...row, class: 'pg_class' }) }
}

function rightsOf(oid: number, name: string): object {
  return {
    class: 'pg_class',
    oid,
    kind: 'sequence',
    on: 'SEQUENCE',
    schema: 'public',
    name,
    owner: 'o',
    acl: ['o=rwU/o', '=U/o'],
    aclDefault: ['o=rwU/o'],
  }
}

test('a right that was given before a torn reading, and behind the last record of its object, stays', () => {
  const made = {
    oid: 7,
    schema: 'public',
    name: 'torn',
    owner: 'o',
    type: 'bigint',
    ownedBy: null,
    start: '1',
    increment: '1',
    min: '1',
    max: '9',
    cache: '1',
    cycle: false,
    acl: null,
    aclDefault: ['o=rwU/o'],
  }
  const records = [
    placed('0/10', 'CREATE SEQUENCE', 'sequence', '7', made),
    placed('0/11', 'GRANT', 'other', null, {
      type: null,
      identity: null,
      rights: [rightsOf(7, 'torn'), rightsOf(8, 'whole')],
    }),
  ]
  const { statements } = new PostgresReadings(records, parsePosition('0/20'), '1').schema(
    { snapshot: '99:99:', ddlSeen: [], unsettled: [7], statements: [], notes: [] },
    new Map(),
  )
  const rights = statements.flatMap(({ sql }) => (sql.startsWith('GRANT') ? [sql] : []))
  expect(rights).toEqual(['GRANT USAGE ON SEQUENCE "public"."torn" TO PUBLIC'])
})
