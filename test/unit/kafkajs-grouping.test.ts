/** Our grouping against kafkajs' own, in a process where nothing has replaced it. */
import { createRequire } from 'node:module'
import { expect, test } from 'vitest'

const require = createRequire(import.meta.url)
type Group = (args: { topic: string; partitionMetadata: unknown[]; messages: { partition: number; value: string }[]; partitioner: (args: { message: { partition: number } }) => number }) => Record<string, unknown[]>

test('groups as kafkajs does, and takes its place', async () => {
  const original = require('kafkajs/src/producer/groupMessagesPerPartition.js') as Group
  const { groupMessages } = await import('../../services/adapters/kafka/kafkajs-grouping.ts')
  const messages = Array.from({ length: 500 }, (_, i) => ({ partition: (i * 7) % 5, value: String(i) }))
  const args = { topic: 't', partitionMetadata: [{}], messages, partitioner: ({ message }: { message: { partition: number } }) => message.partition }
  expect(original).not.toBe(groupMessages)
  expect(groupMessages(args as never)).toEqual(original(args))
  expect(groupMessages({ ...args, partitionMetadata: [] } as never)).toEqual(original({ ...args, partitionMetadata: [] }))
  expect(require('kafkajs/src/producer/groupMessagesPerPartition.js')).toBe(groupMessages)
})
