/**
 * A reading of the schema as the change since the one before, so that what it costs to keep is what changed. Lists stand
 * as runs over the older list, in their order; a digest over the statements proves that the two fit.
 */
import { createHash } from 'node:crypto'
import { z } from 'zod'
import { TidemarkError } from '../core/errors.ts'
import type { EntryOf } from './ledger-entry.ts'
import type { ListChange, SchemaChange, SchemaFacts, SchemaStatement } from '../core/transaction.ts'

/** A reading of the schema, whole or as a change. */
export interface ReadingEntry {
  readonly number: bigint
  readonly writtenAt: string
  readonly body: EntryOf<'schema'> | EntryOf<'schema-change'>
}

/** SHA-256 over the statements, in their order. */
export function statementsDigest(statements: readonly SchemaStatement[]): string {
  const digest = createHash('sha256')
  for (const statement of statements) digest.update(textOf(statement)).update('\n')
  return digest.digest('hex')
}

/** What a reading's entry in the ledger says in the clear beside what it is. */
export function ofReading({ head, untold }: SchemaFacts | SchemaChange): {
  readonly head?: string
  readonly untold?: { readonly from: string; readonly to: string }
} {
  return {
    ...(head === undefined ? {} : { head }),
    ...(untold === undefined ? {} : { untold: { from: untold.from, to: untold.to } }),
  }
}

/** What has to be kept of a later reading where the older one is known. */
export function schemaChange(
  before: SchemaFacts & { readonly reading: string },
  after: SchemaFacts & { readonly reading: string },
): SchemaChange {
  const known = new Set(before.ddlSeen)
  return {
    reading: after.reading,
    since: before.reading,
    snapshot: after.snapshot,
    ddlSeen: after.ddlSeen.filter((id) => !known.has(id)),
    statements: listChange(before.statements, after.statements, textOf),
    notes: listChange(before.notes, after.notes, (note) => note),
    digest: statementsDigest(after.statements),
    unsettled: after.unsettled ?? [],
    ...(after.head === undefined ? {} : { head: after.head }),
    ...(after.untold === undefined ? {} : { untold: after.untold }),
  }
}

/** @throws TidemarkError OBJECT_CORRUPT where the change is not one of these facts */
export function withChange(before: SchemaFacts, change: SchemaChange): SchemaFacts {
  const statements = changedList(before.statements, change.statements)
  if (statementsDigest(statements) !== change.digest)
    throw new TidemarkError('OBJECT_CORRUPT', 'a change of the schema does not fit the reading before it')
  return {
    reading: change.reading,
    snapshot: change.snapshot,
    ddlSeen: [...before.ddlSeen, ...change.ddlSeen],
    statements,
    notes: changedList(before.notes, change.notes),
    unsettled: change.unsettled,
    ...(change.untold === undefined ? {} : { untold: change.untold }),
  }
}

/** Older versions kept an object that was dropped while it was read without the SQL that makes it. */
export function withoutUnread(facts: SchemaFacts): SchemaFacts {
  const isUnread = ({ sql }: { readonly sql: string | null }): boolean => sql === null
  const unread = facts.statements.filter(isUnread)
  if (unread.length === 0) return facts
  return {
    ...facts,
    statements: facts.statements.filter((statement) => !isUnread(statement)),
    notes: [
      ...facts.notes,
      ...unread.map(
        ({ objects }) =>
          `${objects.map(({ kind, schema, name }) => `${kind} ${schema === undefined ? '' : `${schema}.`}${name}`).join(', ')}: dropped while the schema was read, and not made; a point behind its drop does not need it`,
      ),
    ],
  }
}

function textOf({ sql, phase, rank, objects, of }: SchemaStatement): string {
  const names = objects.map((o) => [o.kind, o.schema, o.table, o.name])
  return JSON.stringify(of === undefined ? [sql, phase, rank, names] : [sql, phase, rank, names, of])
}

function listChange<T>(
  before: readonly T[],
  after: readonly T[],
  textOf: (item: T) => string,
): ListChange<T> {
  const places = new Map<string, number[]>()
  const texts = before.map(textOf)
  for (let i = texts.length - 1; i >= 0; i--) {
    const held = places.get(texts[i]!)
    if (held === undefined) places.set(texts[i]!, [i])
    else held.push(i)
  }
  const runs: (readonly [number, number] | { readonly new: T })[] = []
  let next = 0
  for (const item of after) {
    const text = textOf(item)
    const at = texts[next] === text ? next : places.get(text)?.at(-1)
    if (at === undefined) {
      runs.push({ new: item })
      continue
    }
    const last = runs.at(-1)
    if (last !== undefined && !('new' in last) && last[0] + last[1] === at)
      runs[runs.length - 1] = [last[0], last[1] + 1]
    else runs.push([at, 1])
    next = at + 1
  }
  return runs
}

function changedList<T>(before: readonly T[], change: ListChange<T>): T[] {
  return change.flatMap((run) => {
    if ('new' in run) return [run.new]
    const [from, count] = run
    if (from + count > before.length)
      throw new TidemarkError(
        'OBJECT_CORRUPT',
        'a change of the schema names what the reading before it lacks',
      )
    return before.slice(from, from + count)
  })
}

const run = z.tuple([z.int().nonnegative(), z.int().positive()])
const statement = z.object({
  // Without SQL where an older version kept what was dropped while it was read: schema-readings.ts.
  sql: z.string().nullable(),
  phase: z.enum(['before', 'after']),
  rank: z.number(),
  of: z.string().optional(),
  objects: z.array(
    z.object({
      kind: z.string(),
      schema: z.string().optional(),
      name: z.string(),
      table: z.string().optional(),
    }),
  ),
})
const schemaChangeObject = z.object({
  reading: z.string(),
  since: z.string(),
  snapshot: z.string(),
  ddlSeen: z.array(z.string()),
  statements: z.array(z.union([run, z.object({ new: statement })])),
  notes: z.array(z.union([run, z.object({ new: z.string() })])),
  digest: z.string(),
  unsettled: z.array(z.number()).default([]),
  head: z.string().optional(),
  untold: z.object({ from: z.string(), to: z.string(), objects: z.array(z.string()) }).optional(),
})

/** @throws TidemarkError OBJECT_CORRUPT */
export function parseSchemaChange(bytes: Buffer): SchemaChange {
  try {
    return schemaChangeObject.parse(JSON.parse(bytes.toString('utf8'))) as SchemaChange
  } catch (error) {
    throw new TidemarkError('OBJECT_CORRUPT', 'a change of the schema cannot be read', { cause: error })
  }
}
