/** What may happen to rights, sequences, views, functions and types. */
import { type Action, column, type Dice, isNumber, object, on, some } from './grown-dice.ts'
import type { State } from './grown-state.ts'

const PRIVILEGES = ['SELECT', 'INSERT', 'ALL', 'UPDATE, DELETE']

export const RIGHTS: Readonly<Record<string, Action>> = {
  ownTable: { weight: 1.2, make: on((d, t, s) => `ALTER TABLE ${t.name} OWNER TO ${d.pick(s.roles)}`) },
  ownOther: {
    weight: 1,
    make: (d, s) => {
      const of = some(d, [
        ...s.views.map((v) => `${v.kind === 'm' ? 'MATERIALIZED ' : ''}VIEW ${v.name}`),
        ...s.sequences.map((q) => `SEQUENCE ${q.name}`),
        ...s.functions.map((f) => `FUNCTION ${f}`),
        ...s.enums.map((e) => `TYPE ${e.name}`),
        ...s.composites.map((c) => `TYPE ${c.name}`),
        'SCHEMA side',
      ])
      return `ALTER ${of} OWNER TO ${d.pick(s.roles)}`
    },
  },
  grant: {
    weight: 2.5,
    make: (d, s) => {
      const of = some(d, [...s.tables, ...s.views])
      if (of === undefined) return undefined
      const to = d.pick([...s.roles, 'PUBLIC'])
      return `GRANT ${d.pick(PRIVILEGES)} ON ${of.name} TO ${to}${to !== 'PUBLIC' && d.chance(0.4) ? ' WITH GRANT OPTION' : ''}`
    },
  },
  grantColumn: {
    weight: 1,
    make: on((d, t, s) =>
      t.columns.length === 0
        ? undefined
        : `GRANT SELECT (${d.pick(t.columns).name}) ON ${t.name} TO ${d.pick(s.roles)}`,
    ),
  },
  grantOn: {
    weight: 1,
    make: on((d, t, s) => [
      `SET LOCAL ROLE ${d.pick(s.roles)}`,
      `GRANT SELECT, INSERT ON ${t.name} TO ${d.pick(s.roles)}`,
      'RESET ROLE',
    ]),
  },
  grantOther: {
    weight: 1,
    make: (d, s) => {
      const of = d.pick([
        ...s.sequences.map((q) => `USAGE ON SEQUENCE ${q.name}`),
        ...s.functions.map((f) => `EXECUTE ON FUNCTION ${f}`),
        ...s.enums.map((e) => `USAGE ON TYPE ${e.name}`),
        'USAGE ON SCHEMA side',
        'CREATE ON SCHEMA public',
      ])
      return d.chance(0.5)
        ? `GRANT ${of} TO ${d.pick([...s.roles, 'PUBLIC'])}`
        : `REVOKE ${of} FROM ${d.pick([...s.roles, 'PUBLIC'])}`
    },
  },
  revoke: {
    weight: 1.5,
    make: (d, s) => {
      const of = some(d, [...s.tables, ...s.views])
      return of === undefined
        ? undefined
        : `REVOKE ${d.chance(0.2) ? 'GRANT OPTION FOR ' : ''}${d.pick(PRIVILEGES)} ON ${of.name} FROM ${d.pick([...s.roles, 'PUBLIC', of.owner])} CASCADE`
    },
  },
  defaultRights: {
    weight: 0.5,
    make: (d, s) =>
      `ALTER DEFAULT PRIVILEGES ${d.chance(0.5) ? 'IN SCHEMA side ' : ''}${d.chance(0.6) ? 'GRANT SELECT ON TABLES TO' : 'REVOKE SELECT ON TABLES FROM'} ${d.pick(s.roles)}`,
  },
}

/** On one sequence. */
function onSequence(make: (d: Dice, q: string, s: State) => string | undefined) {
  return (d: Dice, s: State): string | undefined => {
    const of = some(d, s.sequences)
    return of === undefined ? undefined : make(d, of.name, s)
  }
}

export const SEQUENCES: Readonly<Record<string, Action>> = {
  createSequence: {
    weight: 2,
    make: (d) =>
      `CREATE SEQUENCE ${object(d, 'q')} ${d.pick(['', 'INCREMENT -2', 'INCREMENT 10 START 5', 'MINVALUE 1 MAXVALUE 9 CYCLE', 'INCREMENT -1 MINVALUE -5 MAXVALUE 5 CYCLE', 'CACHE 20', 'AS smallint'])}`,
  },
  nextval: {
    weight: 5,
    make: onSequence((d, q) => `SELECT nextval('${q}') FROM generate_series(1, ${1 + d.int(40)})`),
  },
  setval: {
    weight: 2,
    make: onSequence(
      (d, q) =>
        `SELECT setval('${q}', ${d.pick(['1', '3', '-3', '500', '7000'])}, ${d.pick(['true', 'false'])})`,
    ),
  },
  alterSequence: {
    weight: 1.5,
    make: onSequence(
      (d, q) =>
        `ALTER SEQUENCE ${q} ${d.pick(['RESTART', 'RESTART WITH 3', 'INCREMENT 5', 'INCREMENT -1 MINVALUE -1000', 'CYCLE', 'NO CYCLE', 'CACHE 3', 'MAXVALUE 8000', 'OWNED BY NONE'])}`,
    ),
  },
  ownSequence: {
    weight: 1,
    make: onSequence((d, q, s) => {
      const t = some(d, s.tables)
      return t === undefined || t.columns.length === 0
        ? undefined
        : `ALTER SEQUENCE ${q} OWNED BY ${t.name}.${d.pick(t.columns).name}`
    }),
  },
  renameSequence: { weight: 0.7, make: onSequence((d, q) => `ALTER SEQUENCE ${q} RENAME TO q${d.int(5)}`) },
  defaultNextval: {
    weight: 1,
    make: (d, s) => {
      const [t, q] = [some(d, s.tables), some(d, s.sequences)]
      const c = t?.columns.find(isNumber)
      return t === undefined || q === undefined || c === undefined
        ? undefined
        : `ALTER TABLE ${t.name} ALTER ${c.name} SET DEFAULT nextval('${q.name}')`
    },
  },
  dropSequence: { weight: 0.7, make: onSequence((_, q) => `DROP SEQUENCE ${q} CASCADE`) },
}

export const OTHERS: Readonly<Record<string, Action>> = {
  view: {
    weight: 2,
    make: on(
      (d, t) =>
        `CREATE ${d.chance(0.5) ? 'OR REPLACE ' : ''}VIEW ${object(d, 'v')} AS SELECT * FROM ${t.name}`,
    ),
  },
  viewOfView: {
    weight: 0.8,
    make: (d, s) => {
      const v = some(d, s.views)
      return v === undefined
        ? undefined
        : `CREATE VIEW ${object(d, 'v')} AS SELECT count(*) AS n FROM ${v.name}`
    },
  },
  materialized: {
    weight: 0.8,
    make: on(
      (d, t) =>
        `CREATE MATERIALIZED VIEW ${object(d, 'm')} AS SELECT count(*) AS n FROM ${t.name}${d.chance(0.3) ? ' WITH NO DATA' : ''}`,
    ),
  },
  renameView: {
    weight: 0.8,
    make: (d, s) => {
      const v = some(d, s.views)
      return v === undefined
        ? undefined
        : `ALTER ${v.kind === 'm' ? 'MATERIALIZED ' : ''}VIEW ${v.name} RENAME TO ${v.kind}${d.int(5)}`
    },
  },
  dropView: {
    weight: 0.8,
    make: (d, s) => {
      const v = some(d, s.views)
      return v === undefined
        ? undefined
        : `DROP ${v.kind === 'm' ? 'MATERIALIZED ' : ''}VIEW ${v.name} CASCADE`
    },
  },
  function: {
    weight: 2,
    make: (d) =>
      `CREATE OR REPLACE FUNCTION ${object(d, 'f')}(a int) RETURNS int LANGUAGE sql ${d.pick(['IMMUTABLE', 'STABLE', 'STRICT'])} AS 'SELECT a + ${d.int(99)}'`,
  },
  dropFunction: {
    weight: 0.6,
    make: (d, s) => {
      const f = some(d, s.functions)
      return f === undefined ? undefined : `DROP FUNCTION ${f} CASCADE`
    },
  },
  trigger: {
    weight: 0.8,
    make: on(
      (d, t) =>
        `CREATE TRIGGER g${d.int(3)} BEFORE UPDATE ON ${t.name} FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()`,
    ),
  },
  enumType: { weight: 1.2, make: (d) => `CREATE TYPE ${object(d, 'e')} AS ENUM ('a', 'b', 'c')` },
  enumLabel: {
    weight: 1,
    make: (d, s) => {
      const e = some(d, s.enums)
      return e === undefined
        ? undefined
        : d.chance(0.6)
          ? `ALTER TYPE ${e.name} ADD VALUE 'l${d.int(9)}' ${d.pick(['BEFORE', 'AFTER'])} '${d.pick(e.labels)}'`
          : `ALTER TYPE ${e.name} RENAME VALUE '${d.pick(e.labels)}' TO 'l${d.int(9)}'`
    },
  },
  composite: { weight: 1.2, make: (d) => `CREATE TYPE ${object(d, 'k')} AS (a int, b text)` },
  attribute: {
    weight: 1,
    make: (d, s) => {
      const k = some(d, s.composites)
      return k === undefined
        ? undefined
        : `ALTER TYPE ${k.name} ${d.pick([`ADD ATTRIBUTE ${column(d)} int`, ...k.attributes.map((a) => `DROP ATTRIBUTE ${a}`), ...k.attributes.map((a) => `RENAME ATTRIBUTE ${a} TO ${column(d)}`)])} CASCADE`
    },
  },
  renameType: {
    weight: 0.5,
    make: (d, s) => {
      const e = some(d, s.enums)
      return e === undefined ? undefined : `ALTER TYPE ${e.name} RENAME TO e${d.int(5)}`
    },
  },
  dropType: {
    weight: 0.5,
    make: (d, s) => {
      const e = some(d, [...s.enums, ...s.composites])
      return e === undefined ? undefined : `DROP TYPE ${e.name} CASCADE`
    },
  },
}
