/** Large rows go through container and envelope in pieces that are given back: what comes out is what went in. */
import { randomBytes } from 'node:crypto'
import { expect, test } from 'vitest'
import { compressBlock, compressRow, containerFile, openContainer } from '../../services/formats/container.ts'
import { aesKeyring, openWith, sealPieces } from '../../services/formats/envelope.ts'
import { MemoryPipeline, expectedRows, restoredRows } from '../support/memory-pipeline.ts'

const RING = aesKeyring('k', Buffer.alloc(32, 7))

test('a file of large blocks is sealed and opened as it was; damage and another place are seen', async () => {
  const raws = [
    randomBytes(3_000_000),
    randomBytes(20_000_000),
    Buffer.alloc(40_000_000, 'abc def'),
    randomBytes(9),
  ]
  const blocks = [
    await compressRow([raws[0]!.subarray(0, 1), raws[0]!.subarray(1)]),
    await compressRow([raws[1]!]),
    await compressBlock(raws[2]!, 5),
    await compressRow([raws[3]!]),
  ]
  const { chunks } = containerFile('{}', randomBytes(16), blocks)
  const file = Buffer.concat(chunks)
  const sealed = Buffer.concat(await sealPieces(RING, chunks, { a: 'b' }))
  await expect(openWith(RING, Buffer.from(sealed), { a: 'c' })).rejects.toMatchObject({
    code: 'OBJECT_CORRUPT',
  })
  const damaged = Buffer.from(sealed)
  damaged[damaged.length - 5_000_000]! ^= 1
  await expect(openWith(RING, damaged, { a: 'b' })).rejects.toMatchObject({ code: 'OBJECT_CORRUPT' })
  const opened = await openWith(RING, sealed, { a: 'b' })
  expect(opened.equals(file)).toBe(true)
  let index = 0
  for await (const { raw } of openContainer(opened).blocks()) expect(raw.equals(raws[index++]!)).toBe(true)
  expect(index).toBe(raws.length)
})

test('transactions of several large rows come back, folded in memory and on disk', async () => {
  const pipeline = await MemoryPipeline.create([
    { oid: 1, name: 'keyed', columns: ['v'], identity: 'default' },
    { oid: 2, name: 'bare', columns: ['v'], identity: 'full' },
  ])
  const { source } = pipeline
  const text = (bytes: number): string => randomBytes(bytes / 2).toString('hex')
  const insert = (table: string, id: number, bytes: number) =>
    ({ kind: 'insert', table, id, values: [text(bytes)] }) as const
  await pipeline.start(1 << 20)
  source.commit([insert('keyed', 1, 10), insert('bare', 1, 5_000_000)])
  await pipeline.takeBase()
  source.commit([insert('keyed', 2, 9_000_000), insert('keyed', 3, 18_000_000), insert('keyed', 4, 10)])
  source.commit([{ kind: 'update', table: 'bare', id: 1, to: 1, values: [text(6_000_000)] }])
  source.commit([{ kind: 'update', table: 'keyed', id: 2, to: 2, values: [undefined] }])
  const at = source.commit([{ kind: 'delete', table: 'keyed', id: 4 }, insert('keyed', 5, 3_000_000)])
  await pipeline.durable(at)
  for (const memoryBytes of [undefined, 1000]) {
    const target = await pipeline.restore(await pipeline.plan('latest'), memoryBytes)
    // Not as a difference: it would print the rows.
    for (const table of ['keyed', 'bare'])
      expect(
        JSON.stringify(restoredRows(target, table)) === JSON.stringify(expectedRows(source.rows(table))),
      ).toBe(true)
  }
  await pipeline.crash()
})
