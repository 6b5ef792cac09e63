/** Our batches against kafkajs' own, byte for byte, in a process where nothing has replaced them. */
import { createRequire } from 'node:module'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { BatchFields, RecordFields } from '../../services/adapters/kafka/client/kafkajs-batches.ts'

const require = createRequire(import.meta.url)
type Encoded = { readonly buffer: Buffer; size(): number }
const theirRecord = require('kafkajs/src/protocol/recordBatch/record/v0/index.js') as (
  fields: RecordFields,
) => never
const { RecordBatch: theirBatch } = {
  ...(require('kafkajs/src/protocol/recordBatch/v0/index.js') as {
    RecordBatch: (fields: BatchFields) => Promise<Encoded>
  }),
}

test('writes what kafkajs writes, and takes its place', async () => {
  const ours = await import('../../services/adapters/kafka/client/kafkajs-batches.ts')
  const bytes = fc.uint8Array({ maxLength: 300 }).map((b) => Buffer.from(b))
  const field = fc.oneof(fc.constant(null), bytes)
  const one = fc.record({
    key: field,
    value: field,
    timestampDelta: fc.integer({ min: 0, max: 2 ** 40 }),
    headers: fc.dictionary(
      fc.constantFrom('tidemark', 'other', 'ä'),
      fc.oneof(fc.string({ maxLength: 60 }), bytes),
      { maxKeys: 3 },
    ),
  })
  const seed = Number(process.env['TIDEMARK_SEED'] ?? Math.floor(Math.random() * 2 ** 31))
  await fc.assert(
    fc.asyncProperty(
      fc.array(one, { maxLength: 70 }),
      fc.boolean(),
      fc.bigInt({ min: -1n, max: 2n ** 62n }),
      fc.integer({ min: 0, max: 2 ** 31 - 1 }),
      fc.constantFrom(0, 1),
      async (list, transactional, producerId, firstSequence, compression) => {
        const fields = {
          compression,
          transactional,
          producerId,
          firstSequence,
          producerEpoch: 7,
          firstTimestamp: 1_700_000_000_000,
          maxTimestamp: 1_700_000_099_999,
          lastOffsetDelta: list.length - 1,
        }
        const theirs = await theirBatch({
          ...fields,
          records: list.map((r, i) => theirRecord({ ...r, offsetDelta: i })),
        })
        const own = (await ours.recordBatch({
          ...fields,
          records: list.map((r, i) => ours.record({ ...r, offsetDelta: i })),
        })) as unknown as Encoded
        expect(own.buffer.equals(theirs.buffer)).toBe(true)
        expect(own.size()).toBe(theirs.size())
      },
    ),
    { seed, numRuns: 200 },
  )
  expect(require('kafkajs/src/protocol/recordBatch/record/v0/index.js')).toBe(ours.record)
  expect(
    (require('kafkajs/src/protocol/recordBatch/v0/index.js') as { RecordBatch: unknown }).RecordBatch,
  ).toBe(ours.recordBatch)
})
