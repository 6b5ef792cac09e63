/** What may happen to partitioned tables, up to three levels deep, and by commands at a parent to all that is below it. */
import { type Action, column, type Dice, isNumber, some, value } from './grown-dice.ts'
import type { Relation, State } from './grown-state.ts'

const COLUMNS = 'id bigint, c0 text, c1 integer'

/** Not among those of other tables, which would take most of them. */
const part = (d: Dice): string => `p${d.int(14)}`

/** A partition's bound below this parent: few, so that a place is taken again and again. */
function bound(d: Dice, parent: Relation): string {
  if (parent.strategy === 'h') return `FOR VALUES WITH (MODULUS 2, REMAINDER ${d.int(2)})`
  if (d.chance(0.2)) return 'DEFAULT'
  if (parent.strategy === 'l') return `FOR VALUES IN (${d.pick(['1, 2, 3', '4, 5, NULL', '6'])})`
  const low = d.int(6) * 1000
  return `FOR VALUES FROM (${low}) TO (${low + 1000})`
}

function key(d: Dice): string {
  return d.pick(['RANGE (id)', 'RANGE (id)', 'HASH (id)', 'LIST (c1)'])
}

/** How many partitioned tables are above it. */
function depth(s: State, of: Relation): number {
  const parent = of.isPartition ? s.partitioned.find((t) => t.name === of.parent) : undefined
  return parent === undefined ? 0 : 1 + depth(s, parent)
}

/** One that has something below it, sooner than one that has not. */
function parentOf(d: Dice, s: State): Relation | undefined {
  const above = new Set(s.tables.filter((t) => t.isPartition && t.kind === 'p').map((t) => t.parent))
  const deep = s.partitioned.filter((t) => above.has(t.name))
  return d.chance(0.6) && deep.length > 0 ? d.pick(deep) : some(d, s.partitioned)
}

/** At a partitioned table, and one of its columns. */
function atParent(make: (d: Dice, t: Relation, s: State) => string | readonly string[] | undefined) {
  return (d: Dice, s: State): string | readonly string[] | undefined => {
    const of = parentOf(d, s)
    return of === undefined || of.columns.length === 0 ? undefined : make(d, of, s)
  }
}

function partition(d: Dice, s: State): string | readonly string[] | undefined {
  const of = parentOf(d, s)
  if (of === undefined) return undefined
  const name = part(d)
  const at = bound(d, of)
  const below = depth(s, of) < 2 && d.chance(0.45) ? ` PARTITION BY ${key(d)}` : ''
  const kind = below === '' && d.chance(0.2) ? 'UNLOGGED ' : ''
  if (below === '' && d.chance(0.15))
    return `CREATE FOREIGN TABLE ${name} PARTITION OF ${of.name} ${at} SERVER elsewhere`
  if (d.chance(0.5)) return `CREATE ${kind}TABLE ${name} PARTITION OF ${of.name} ${at}${below}`
  const columns = of.columns.map((c) => `${c.name} ${c.type}`).reverse()
  return [
    `CREATE ${kind}TABLE ${name} (dropped int, ${columns.join(', ')})${below}`,
    `ALTER TABLE ${name} DROP COLUMN dropped`,
    `ALTER TABLE ${of.name} ATTACH PARTITION ${name} ${at}`,
  ]
}

/** A whole tree at once, so that there is one from the beginning. */
function tree(d: Dice): readonly string[] {
  const [top, mid, low] = [part(d), part(d), part(d)]
  return [
    `CREATE TABLE ${top} (${COLUMNS}${d.chance(0.5) ? ', PRIMARY KEY (id, c1)' : ''}) PARTITION BY RANGE (id)`,
    `CREATE TABLE ${mid} PARTITION OF ${top} FOR VALUES FROM (0) TO (1000) PARTITION BY ${d.pick(['LIST (c1)', 'HASH (id)'])}`,
    ...(d.chance(0.5) ? [`CREATE TABLE ${low} PARTITION OF ${top} DEFAULT PARTITION BY LIST (c1)`] : []),
  ]
}

export const PARTITIONS: Readonly<Record<string, Action>> = {
  partitioned: {
    weight: 1.2,
    make: (d) =>
      `CREATE TABLE ${part(d)} (id bigint${d.chance(0.5) ? ' PRIMARY KEY' : ''}, c0 text, c1 integer) PARTITION BY ${key(d)}`,
  },
  tree: { weight: 0.8, make: tree },
  partition: { weight: 4, make: partition },
  detach: {
    weight: 1,
    make: (d, s) => {
      const of = some(
        d,
        [...s.tables, ...s.foreign].filter((t) => t.isPartition),
      )
      return of === undefined ? undefined : `ALTER TABLE ${of.parent} DETACH PARTITION ${of.name}`
    },
  },
  attach: {
    weight: 1,
    make: atParent((d, t, s) => {
      const of = some(
        d,
        [...s.partitioned, ...s.partitioned, ...s.tables, ...s.foreign].filter(
          (one) => !one.isPartition && one.name !== t.name,
        ),
      )
      return of === undefined ? undefined : `ALTER TABLE ${t.name} ATTACH PARTITION ${of.name} ${bound(d, t)}`
    }),
  },
  movePartition: {
    weight: 1,
    make: (d, s) => {
      const of = some(
        d,
        [...s.tables, ...s.foreign].filter((t) => t.isPartition),
      )
      const to = parentOf(d, s)
      if (of === undefined || to === undefined || to.name === of.name) return undefined
      return [
        `ALTER TABLE ${of.parent} DETACH PARTITION ${of.name}`,
        `ALTER TABLE ${to.name} ATTACH PARTITION ${of.name} ${bound(d, to)}`,
      ]
    },
  },
  foreignAlone: {
    weight: 0.3,
    make: (d) => `CREATE FOREIGN TABLE ${part(d)} (${COLUMNS}) SERVER elsewhere`,
  },
  dropForeign: {
    weight: 0.3,
    make: (d, s) => (s.foreign.length === 0 ? undefined : `DROP FOREIGN TABLE ${d.pick(s.foreign).name}`),
  },
  parentIndex: {
    weight: 1.2,
    make: atParent((d, t) => `CREATE INDEX ON ${t.name} (${d.pick(t.columns).name})`),
  },
  parentCheck: {
    weight: 1,
    make: atParent(
      (d, t) => `ALTER TABLE ${t.name} ADD CHECK (${d.pick(t.columns).name} IS DISTINCT FROM NULL)`,
    ),
  },
  parentKey: {
    weight: 0.7,
    make: atParent((d, t) => `ALTER TABLE ${t.name} ADD ${d.pick(['UNIQUE', 'PRIMARY KEY'])} (id, c1)`),
  },
  parentDrop: {
    weight: 1,
    make: atParent((d, t) =>
      t.constraints.length === 0
        ? undefined
        : `ALTER TABLE ${t.name} DROP CONSTRAINT ${d.pick(t.constraints)} CASCADE`,
    ),
  },
  parentColumn: {
    weight: 1.2,
    make: atParent((d, t) => {
      const of = d.pick(t.columns).name
      return d.pick([
        `ALTER TABLE ${t.name} ADD COLUMN ${column(d)} integer DEFAULT 7`,
        `ALTER TABLE ${t.name} DROP COLUMN ${of} CASCADE`,
        `ALTER TABLE ${t.name} RENAME COLUMN ${of} TO ${column(d)}`,
        `ALTER TABLE ${t.name} ALTER ${of} SET NOT NULL`,
        `ALTER TABLE ${t.name} ALTER ${of} DROP NOT NULL`,
      ])
    }),
  },
  parentDefault: {
    weight: 0.5,
    make: atParent((d, t, s) => {
      const of = d.pick(t.columns)
      return `ALTER TABLE ${t.name} ALTER ${of.name} SET DEFAULT ${value(d, s, of.type)}`
    }),
  },
  parentTrigger: {
    weight: 1,
    make: atParent(
      (d, t) =>
        `CREATE TRIGGER g${d.int(3)} AFTER UPDATE ON ${t.name} FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()`,
    ),
  },
  parentForeign: {
    weight: 1.2,
    make: atParent((d, t, s) => {
      const from = some(d, t.columns.filter(isNumber))
      const to = d.chance(0.5) ? parentOf(d, s) : some(d, s.tables)
      if (from === undefined || to === undefined) return undefined
      return `ALTER TABLE ${t.name} ADD FOREIGN KEY (${from.name}) REFERENCES ${to.name}`
    }),
  },
  referToParent: {
    weight: 1,
    make: atParent((d, t, s) => {
      const of = some(d, s.tables)
      const from = of === undefined ? undefined : some(d, of.columns.filter(isNumber))
      if (of === undefined || from === undefined) return undefined
      return d.chance(0.5)
        ? `ALTER TABLE ${of.name} ADD FOREIGN KEY (${from.name}) REFERENCES ${t.name}`
        : `ALTER TABLE ${of.name} ADD FOREIGN KEY (id, c1) REFERENCES ${t.name} (id, c1)`
    }),
  },
  dropReferred: {
    weight: 0.4,
    make: (d, s) => {
      const of = some(d, [...s.tables, ...s.partitioned])
      return of === undefined ? undefined : `DROP TABLE ${of.name} CASCADE`
    },
  },
}
