/** The order in which a schema is made: lower ranks first. Inside a rank the order given is kept. */
import type { SchemaObject, SchemaStatement } from '../core/transaction.ts'

/** What is below `key` comes before the rows. */
export const RANK = {
  cluster: -30,
  schema: -20,
  extension: -10,
  /** Names of types that their own functions need before they can be made. */
  shell: -5,
  create: 0,
  child: 5,
  attach: 10,
  key: 20,
  /** Views, and what else needs a key. */
  late: 25,
  constraint: 30,
  index: 40,
  attachIndex: 50,
  foreignKey: 60,
  behaviour: 70,
  /** What changes what `behaviour` made. */
  state: 75,
  rights: 80,
  /** A look at rows that are there. */
  validate: 81,
  /** What acts on all that is made after it: default privileges, settings, event triggers. */
  settings: 90,
} as const

/** The kind of what gives roles attributes, settings and memberships: run only where it is asked for. */
export const ROLE_ATTRIBUTES = 'roleAttributes'

export type Say = (rank: number, sql: string, object?: SchemaObject) => void

export function schemaStatement(rank: number, object: SchemaObject, sql: string): SchemaStatement {
  return { sql, rank, phase: rank < RANK.key ? 'before' : 'after', objects: [object] }
}

/** Collects statements in the order in which they are said. */
export function collect(self: SchemaObject, tell: (say: Say) => void): SchemaStatement[] {
  const out: SchemaStatement[] = []
  tell((rank, sql, object = self) => out.push(schemaStatement(rank, object, sql)))
  return out
}
