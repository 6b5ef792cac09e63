/**
 * kafkajs 2.2.4 groups a batch by partition by copying the group for every message: n² for n messages, and with a
 * thousand rows a batch the largest single cost of the way into Kafka. This puts a function of the same contract in its
 * place, before kafkajs is loaded. Pinned to the version; `test/unit/kafkajs-grouping.test.ts` compares the two.
 */
import { createRequire } from 'node:module'

interface Grouping<M> {
  readonly topic: string
  readonly partitionMetadata: readonly unknown[]
  readonly messages: readonly M[]
  partitioner(args: { readonly topic: string; readonly partitionMetadata: readonly unknown[]; readonly message: M }): number
}

export function groupMessages<M>({ topic, partitionMetadata, messages, partitioner }: Grouping<M>): Record<number, M[]> {
  const groups: Record<number, M[]> = {}
  if (partitionMetadata.length === 0) return groups
  for (const message of messages) (groups[partitioner({ topic, partitionMetadata, message })] ??= []).push(message)
  return groups
}

const require = createRequire(import.meta.url)
const path = require.resolve('kafkajs/src/producer/groupMessagesPerPartition.js')
require(path)
const loaded = require.cache[path]
if (loaded !== undefined) loaded.exports = groupMessages
