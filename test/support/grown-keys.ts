/** What may happen to keys, constraints and inheritance. */
import { type Action, isNumber, on, onColumn, some, table } from './grown-dice.ts'

export const KEYS: Readonly<Record<string, Action>> = {
  identity: {
    weight: 2.5,
    make: on(
      (d, t) =>
        `ALTER TABLE ${t.name} REPLICA IDENTITY ${d.pick(['FULL', 'DEFAULT', 'NOTHING', ...t.uniqueIndexes.map((i) => `USING INDEX ${i}`)])}`,
    ),
  },
  addKey: {
    weight: 1.5,
    make: onColumn(
      (d, t, c) =>
        `${t} ADD ${d.pick(['PRIMARY KEY', 'UNIQUE'])} (${c.name})${d.chance(0.2) ? ' DEFERRABLE' : ''}`,
    ),
  },
  addCheck: {
    weight: 1,
    make: onColumn(
      (d, t, c) => `${t} ADD CHECK (${c.name} IS DISTINCT FROM NULL)${d.chance(0.6) ? ' NOT VALID' : ''}`,
    ),
  },
  addForeign: {
    weight: 1,
    make: (d, s) => {
      const [a, b] = [some(d, s.tables), some(d, s.tables)]
      const from = a === undefined ? undefined : some(d, a.columns.filter(isNumber))
      if (a === undefined || b === undefined || from === undefined) return undefined
      return `ALTER TABLE ${a.name} ADD FOREIGN KEY (${from.name}) REFERENCES ${b.name}${d.chance(0.7) ? ' NOT VALID' : ''}`
    },
  },
  dropConstraint: {
    weight: 1.5,
    make: on((d, t) =>
      t.constraints.length === 0
        ? undefined
        : `ALTER TABLE ${t.name} DROP CONSTRAINT ${d.pick(t.constraints)} CASCADE`,
    ),
  },
  index: {
    weight: 1.5,
    make: onColumn(
      (d, t, c) =>
        `CREATE ${d.chance(0.4) ? 'UNIQUE ' : ''}INDEX ON ${t.slice('ALTER TABLE '.length)} (${c.name})`,
    ),
  },
  dropIndex: {
    weight: 0.7,
    make: on((d, t) => (t.indexes.length === 0 ? undefined : `DROP INDEX ${d.pick(t.indexes)}`)),
  },
  comment: {
    weight: 1,
    make: on((d, t) => `COMMENT ON TABLE ${t.name} IS ${d.chance(0.3) ? 'NULL' : `'said ${d.int(9)}'`}`),
  },
  policy: {
    weight: 0.7,
    make: on((d, t) => [
      `ALTER TABLE ${t.name} ENABLE ROW LEVEL SECURITY`,
      `CREATE POLICY p${d.int(3)} ON ${t.name} USING (true)`,
    ]),
  },
}

export const FAMILIES: Readonly<Record<string, Action>> = {
  child: {
    weight: 1.5,
    make: on((d, t) => {
      const columns = t.columns.map((c) => `${c.name} ${c.type}`)
      const name = table(d)
      return [
        `CREATE TABLE ${name} (own text, ${columns.reverse().join(', ')})`,
        `ALTER TABLE ${name} INHERIT ${t.name}`,
      ]
    }),
  },
  noInherit: {
    weight: 1,
    make: on((_, t) =>
      t.parent === null || t.isPartition ? undefined : `ALTER TABLE ${t.name} NO INHERIT ${t.parent}`,
    ),
  },
  inherit: {
    weight: 1,
    make: (d, s) => {
      const [a, b] = [some(d, s.tables), some(d, s.tables)]
      return a === undefined || b === undefined || a === b
        ? undefined
        : `ALTER TABLE ${a.name} INHERIT ${b.name}`
    },
  },
}
