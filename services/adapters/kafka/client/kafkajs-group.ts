/** A consumer group for membership alone, by kafkajs' consumer, paused: nothing is fetched or committed through it. */
import type { Kafka, RetryOptions } from 'kafkajs'
import type { GroupMember, GroupRequest } from './client.ts'

export async function joinGroup(
  kafka: Kafka,
  retries: RetryOptions,
  group: GroupRequest,
): Promise<GroupMember> {
  const topics = [...group.topics]
  // A consumer that starts itself again, as kafkajs' do, would be a member that nobody here knows of: it would lead, and do nothing.
  const retry = { ...retries, restartOnFailure: () => Promise.resolve(false) }
  const consumer = kafka.consumer({
    retry,
    groupId: group.id,
    sessionTimeout: group.sessionMs,
    heartbeatInterval: group.heartbeatMs,
    rebalanceTimeout: group.rebalanceMs,
    allowAutoTopicCreation: false,
  })
  const { GROUP_JOIN, CRASH } = consumer.events
  let joined = false
  let crash: unknown
  consumer.on(GROUP_JOIN, ({ payload }) => {
    joined = true
    // Nothing is fetched through the group.
    consumer.pause(topics.map((topic) => ({ topic })))
    group.onAssigned(payload.memberAssignment as Readonly<Record<string, readonly number[] | undefined>>)
  })
  consumer.on(CRASH, ({ payload }) => {
    if (joined) group.onLost(payload.error)
    else crash = payload.error
  })
  try {
    await consumer.connect()
    await consumer.subscribe({ topics })
    await consumer.run({ autoCommit: false, eachBatch: () => Promise.resolve() })
    // A crash while it starts is told, not thrown.
    if (crash !== undefined) throw crash
    return { leave: () => consumer.disconnect() }
  } catch (error) {
    await consumer.disconnect().catch(() => undefined)
    throw error
  }
}
