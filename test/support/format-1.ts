/** What a program of format 1 wrote, by a source in memory: the same rows, described as that program described them. */
import { createHash } from 'node:crypto'
import { MemorySource } from '../../services/engines/memory/memory-source.ts'
import type { Snapshot, StreamPoint } from '../../services/core/ports/source.ts'
import type { ChangeShape, LogItem } from '../../services/core/transaction.ts'
import type { Repository } from '../../services/repository/repository.ts'
import type { EntryBody } from '../../services/formats/ledger-entry.ts'

/** Its types are PostgreSQL's, and its places LSNs. */
export class Format1Source extends MemorySource {
  isOfFormat1 = true

  override async *stream(from: StreamPoint, signal: AbortSignal): AsyncIterable<LogItem> {
    for await (const item of super.stream(from, signal))
      yield item.kind !== 'changes'
        ? item
        : {
            ...item,
            changes: { ...item.changes, shapes: item.changes.shapes.map((shape) => this.#said(shape)) },
            counts: item.counts.map((count) => ({ ...count, shape: this.#said(count.shape) })),
          }
  }

  override async snapshot(options: Parameters<MemorySource['snapshot']>[0]): Promise<Snapshot> {
    const snapshot = await super.snapshot(options)
    const tables = snapshot.tables.map((table) => ({ ...table, shape: this.#said(table.shape) }))
    return { ...snapshot, tables }
  }

  #said(shape: ChangeShape): ChangeShape {
    return this.isOfFormat1 ? shapeOfFormat1(shape) : shape
  }
}

/** With its id, by the rule of then. */
export function shapeOfFormat1({ relation, avro }: ChangeShape): ChangeShape {
  const columns = relation.columns.map((c) => [c.name, Number(c.native), Number(c.modifier || -1), c.key])
  const facts = [relation.oid, relation.schema, relation.name, relation.identity, 'utf8', columns]
  const id = createHash('sha256').update(JSON.stringify(facts)).digest('hex').slice(0, 16)
  return { id, relation, avro: inFormat1(avro) }
}

function inFormat1(avro: string): string {
  return JSON.stringify(JSON.parse(avro), (_, value: unknown) => {
    if (typeof value !== 'object' || value === null) return value
    if ('aliases' in value) return { name: 'lsn', type: 'long' }
    if (!('native' in value)) return value
    const { kind: _kind, native, modifier, ...rest } = value as Record<string, unknown>
    return { ...rest, pgType: Number(native), pgTypmod: modifier === undefined ? -1 : Number(modifier) }
  })
}

export function generationInFormat1(consistentPoint: string): EntryBody {
  return {
    kind: 'generation',
    generation: 1,
    systemId: '1',
    databaseOid: 1,
    database: 'memory',
    encoding: 'UTF8',
    serverVersion: 180000,
    timeline: 1,
    slot: 'memory',
    publication: 'memory',
    consistentPoint,
    nextXid: '1',
    reason: 'test',
  } as unknown as EntryBody
}

/** Entries go into the ledger as they are: a program of format 1 said nothing of formats. */
export function writesFormat1(repository: Repository): void {
  repository.append = (body) => repository.ledger.append(body, repository.signer)
}
