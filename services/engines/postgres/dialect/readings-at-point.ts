/** Readings of the schema against the DDL records at a point: which transactions each has seen, its snapshot tells. */
import type { ReadingsAtPoint, SchemaAtPoint } from '../../../core/ports/dialect.ts'
import { comparePositions, type Position } from '../../../core/position.ts'
import type { SchemaFacts } from '../../../core/transaction.ts'
import { patchedSchema } from './patched-schema.ts'
import type { PlacedDdl } from './placed-records.ts'
import type { PostgresSteps } from './postgres-table.ts'
import { isVisible } from '../../../core/snapshot.ts'

export class PostgresReadings implements ReadingsAtPoint {
  readonly #records: readonly PlacedDdl[]
  readonly #point: Position
  readonly #firstTransaction: bigint
  readonly #place: ReadonlyMap<string, Position>

  constructor(records: readonly PlacedDdl[], point: Position, firstTransaction: string) {
    this.#records = records
    this.#point = point
    this.#firstTransaction = BigInt(firstTransaction)
    this.#place = new Map(records.map(({ record, position }) => [record.xid, position]))
  }

  hasSeenBehind({ ddlSeen, snapshot }: SchemaFacts): boolean {
    return (
      ddlSeen.some((xid) => {
        const at = this.#place.get(xid)
        return at === undefined
          ? BigInt(xid) >= this.#firstTransaction
          : comparePositions(at, this.#point) > 0
      }) ||
      // Records that were removed from the source, being durable, are in what it saw all the same: its snapshot tells.
      this.#records.some(
        ({ position, record }) =>
          comparePositions(position, this.#point) > 0 && isVisible(snapshot, record.xid),
      )
    )
  }

  schema(reading: SchemaFacts, histories: ReadonlyMap<number, PostgresSteps>): SchemaAtPoint {
    const seen = new Set(reading.ddlSeen)
    const { snapshot } = reading
    // What was being changed while it was read is told by its records as well.
    const unsettled = new Set(reading.unsettled)
    const later = this.#records
      .filter(({ position }) => comparePositions(position, this.#point) <= 0)
      .flatMap((placed) => {
        const { oid, xid } = placed.record
        if (unsettled.has(oid) || (!seen.has(xid) && !isVisible(snapshot, xid))) return [placed]
        return rightsOf(placed, unsettled)
      })
    if (later.length === 0) return { statements: reading.statements, notes: reading.notes, leftOut: [] }
    const isLater = new Set(later)
    const earlier = this.#records.filter(
      (placed) => comparePositions(placed.position, this.#point) <= 0 && !isLater.has(placed),
    )
    return patchedSchema(reading, later, histories, namesWhenRead(this.#records, later), earlier)
  }
}

/** What a GRANT or REVOKE, which names no single object, changed of these. */
function rightsOf(placed: PlacedDdl, oids: ReadonlySet<number>): PlacedDdl[] {
  const { record } = placed
  if (record.kind !== 'other' || !/^(GRANT|REVOKE)$/.test(record.command)) return []
  const rights = (record.facts.rights ?? []).filter(({ oid }) => oids.has(oid))
  return rights.length === 0 ? [] : [{ ...placed, record: { ...record, facts: { ...record.facts, rights } } }]
}

/** How types and sequences that later records tell of were called when the schema was read: `kind schema.name`. */
function namesWhenRead(
  records: readonly PlacedDdl[],
  later: readonly PlacedDdl[],
): ReadonlyMap<number, string> {
  const isLater = new Set(later)
  const names = new Map<number, string>()
  for (const placed of records) {
    const { record } = placed
    if (isLater.has(placed) || (record.kind !== 'type' && record.kind !== 'sequence')) continue
    names.set(record.oid, `${record.kind} ${record.facts.schema}.${record.facts.name}`)
  }
  return names
}
