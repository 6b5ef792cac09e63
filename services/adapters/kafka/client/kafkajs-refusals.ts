/**
 * kafkajs 2.2.4 says that something was not authorized, and neither what nor for which operation: that stands in the answer that it
 * throws away. Here each answer is looked at before kafkajs judges it, and what was refused is kept beside the error. Put in
 * place before kafkajs is loaded (pinned to the version).
 */
import { createRequire } from 'node:module'

/** What a broker did not let a login do. */
export interface RefusedAccess {
  /** As Kafka's rules of access name it. */
  readonly operation: string
  /** Topics, where the answer names them. */
  readonly topics: readonly string[]
}

interface Sending {
  readonly request: { readonly apiName: string }
  readonly response: { readonly parse: (data: unknown) => Promise<unknown> }
}
interface ConnectionPrototype {
  send(this: unknown, sending: Sending): Promise<unknown>
}

/** The operation that brokers ask for, by the request (Kafka, "Operations and Resources on Protocols"). */
const OPERATIONS: Readonly<Record<string, string>> = {
  Produce: 'Write',
  AddPartitionsToTxn: 'Write',
  InitProducerId: 'Write',
  EndTxn: 'Write',
  Fetch: 'Read',
  JoinGroup: 'Read',
  SyncGroup: 'Read',
  Heartbeat: 'Read',
  LeaveGroup: 'Read',
  ListOffsets: 'Describe',
  Metadata: 'Describe',
  GroupCoordinator: 'Describe',
  CreateTopics: 'Create',
  DescribeConfigs: 'DescribeConfigs',
}
/** Kafka's codes of "not authorized": for topics, groups, the cluster, transactional ids. */
const REFUSALS: ReadonlySet<unknown> = new Set([29, 30, 31, 53])

const refused = new WeakMap<object, RefusedAccess>()

/** What the error, or one that it was made of, was refused. */
export function refusedAccess(errors: readonly object[]): RefusedAccess | undefined {
  for (const error of errors) {
    const found = refused.get(error)
    if (found !== undefined) return found
  }
  return undefined
}

/** Names of topics above each code of a refusal, in an answer as kafkajs decodes it. */
function refusedTopics(answer: unknown, topic?: string): string[] {
  if (Array.isArray(answer)) return answer.flatMap((one) => refusedTopics(one, topic))
  if (typeof answer !== 'object' || answer === null || Buffer.isBuffer(answer)) return []
  const fields = answer as Readonly<Record<string, unknown>>
  const named = [fields['topicName'], fields['topic'], fields['resourceName']].find(
    (name) => typeof name === 'string',
  )
  const name = typeof named === 'string' ? named : topic
  if (REFUSALS.has(fields['errorCode']) || REFUSALS.has(fields['topicErrorCode']))
    return name === undefined ? [] : [name]
  return Object.entries(fields).flatMap(([key, value]) =>
    key === 'messages' ? [] : refusedTopics(value, name),
  )
}

const { prototype } = createRequire(import.meta.url)('kafkajs/src/network/connection.js') as {
  prototype: ConnectionPrototype
}
const { send } = prototype
prototype.send = function sendAndLook(this: unknown, sending: Sending): Promise<unknown> {
  const { request, response } = sending
  const parse = async (data: unknown): Promise<unknown> => {
    try {
      return await response.parse(data)
    } catch (error) {
      const operation = OPERATIONS[request.apiName]
      if (operation !== undefined && typeof error === 'object' && error !== null) {
        const access = { operation, topics: [...new Set(refusedTopics(data))] }
        refused.set(error, access)
        // kafkajs throws a list for what makes topics.
        const { errors } = error as { readonly errors?: unknown }
        for (const one of Array.isArray(errors) ? (errors as object[]) : []) refused.set(one, access)
      }
      throw error
    }
  }
  return send.call(this, { ...sending, response: { ...response, parse } })
}
