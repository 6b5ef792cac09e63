/** Opens segments and base parts, and walks their rows without making objects of them. */
import { type Position, positionOf } from '../core/position.ts'
import { ByteSource, corrupt } from '../core/byte-source.ts'
import { shapeOfSchema } from '../formats/change-schema.ts'
import { openContainer } from '../formats/container.ts'
import type { EntryOf } from '../formats/ledger-entry.ts'
import type { Repository } from '../repository/repository.ts'
import { RowLayout } from './row-layout.ts'

export type SegmentsEntry = EntryOf<'segments'>

/** One block: changes of one table under one relation version, in commit order. */
export interface ChangeBlock {
  readonly layout: RowLayout
  readonly shape: string
  readonly rows: number
  readonly raw: Buffer
}

/**
 * The blocks of an entry, object by object; only those of tables that `wanted` asks for.
 *
 * @param needed for each object and each of its blocks, from the index; all of them where it is not given
 */
export async function* changeBlocks(
  repository: Repository,
  entry: SegmentsEntry,
  wanted: (oid: number) => boolean,
  needed?: readonly (readonly boolean[])[],
): AsyncGenerator<ChangeBlock> {
  for (const [i, object] of entry.objects.entries()) {
    const blocks = needed?.[i]
    if (blocks?.includes(true) === false || !object.tables.some((table) => wanted(table.oid))) continue
    yield* objectBlocks(
      repository,
      entry,
      object,
      wanted,
      blocks === undefined ? undefined : (block) => blocks[block] !== false,
    )
  }
}

/** The blocks of one object of an entry. */
export async function* objectBlocks(
  repository: Repository,
  entry: SegmentsEntry,
  object: SegmentsEntry['objects'][number],
  wanted: (oid: number) => boolean,
  isNeeded?: (block: number) => boolean,
): AsyncGenerator<ChangeBlock> {
  const file = await repository.getSealed(object, {
    kind: 'segment',
    generation: String(entry.generation),
    lane: String(entry.lane),
  })
  const container = openContainer(file)
  const layouts = (JSON.parse(container.schema) as { name: string }[]).map((record) => {
    const { relation, text } = shapeOfSchema(record)
    return { layout: new RowLayout(relation, text), shape: record.name }
  })
  for await (const { rows, raw } of container.blocks(isNeeded)) {
    const first = layouts[new ByteSource(raw).long()]
    if (first === undefined) throw corrupt('a block of a table that its segment does not describe')
    if (wanted(first.layout.relation.oid)) yield { ...first, rows, raw }
  }
}

/** Where the parts of a change lie; one object, filled again for every row. */
export class ChangeCursor {
  readonly #source: ByteSource
  readonly #layout: RowLayout
  #left: number
  #positionAt = -1
  #positionLength = 0
  position: Position = positionOf(0n)
  ordinal = 0
  /** Index in OPERATIONS. */
  operation = 0
  readonly buffer: Buffer
  /** Start -1 where there is none. */
  readonly old = { start: -1, end: -1 }
  readonly new = { start: -1, end: -1 }

  constructor(block: ChangeBlock) {
    this.#source = new ByteSource(block.raw)
    this.#layout = block.layout
    this.#left = block.rows
    this.buffer = block.raw
  }

  next(): boolean {
    if (this.#left === 0) {
      if (!this.#source.done) throw corrupt('a block holds more than its rows')
      return false
    }
    this.#left--
    const source = this.#source
    source.skipLong()
    this.#readPosition()
    this.ordinal = source.long()
    this.operation = source.long()
    this.#slice(this.old)
    this.#slice(this.new)
    return true
  }

  /** Rows of one transaction share the bytes of their position: read once. */
  #readPosition(): void {
    const source = this.#source
    const start = source.at
    source.skipLong()
    const length = source.at - start
    if (length === this.#positionLength) {
      let same = true
      for (let i = 0; i < length && same; i++)
        same = this.buffer[this.#positionAt + i] === this.buffer[start + i]
      if (same) return
    }
    this.#positionAt = start
    this.#positionLength = length
    source.at = start
    this.position = positionOf(source.bigLong())
  }

  #slice(into: { start: number; end: number }): void {
    const source = this.#source
    if (source.byte() === 0) {
      into.start = -1
      return
    }
    into.start = source.at
    this.#layout.skip(source)
    into.end = source.at
  }
}

/** The blocks of a table's base, part by part. */
export async function* baseBlocks(
  repository: Repository,
  table: EntryOf<'table'>,
): AsyncGenerator<{ readonly layout: RowLayout; readonly rows: number; readonly raw: Buffer }> {
  for (const part of table.parts) {
    const file = await repository.getSealed(part, {
      kind: 'base',
      generation: String(table.generation),
      table: String(table.oid),
    })
    const container = openContainer(file)
    const { relation, text } = shapeOfSchema(JSON.parse(container.schema))
    const layout = new RowLayout(relation, text)
    for await (const { rows, raw } of container.blocks()) yield { layout, rows, raw }
  }
}
