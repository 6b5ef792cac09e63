/** The Kafka and the registry of the whole run. */
import { inject } from 'vitest'
import type { SharedKafka } from './kafka-desk.ts'

/** Not for a file that stops, freezes or reconfigures them: that one starts its own. */
export async function sharedKafka(): Promise<SharedKafka> {
  const answer = await fetch(inject('kafkaDesk'))
  if (!answer.ok) throw new Error(`Kafka did not start: ${await answer.text()}`)
  return (await answer.json()) as SharedKafka
}
