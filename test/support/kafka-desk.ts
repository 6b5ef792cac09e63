/** One Kafka and one registry for the whole run: started for the first file that asks, ended with the run. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { KafkaBench } from './kafka-bench.ts'

declare module 'vitest' {
  export interface ProvidedContext {
    /** Where a file asks for them; the answer is a SharedKafka. */
    kafkaDesk: string
  }
}

/** What files get that neither stop nor break the servers; their topics have prefixes that no other file uses. */
export interface SharedKafka {
  /** With the folder of its first broker. */
  readonly kafka: { readonly bootstrap: readonly string[]; readonly folder: string }
  readonly registry: { readonly url: string }
}

export interface KafkaDesk extends AsyncDisposable {
  readonly url: string
}

export async function openKafkaDesk(): Promise<KafkaDesk> {
  let started: Promise<KafkaBench> | undefined
  const start = async (): Promise<KafkaBench> => (await import('./kafka-bench.ts')).startKafka()
  const server = createServer((_, answer) => {
    started ??= start()
    const starting = started
    starting.then(
      ({ kafka, registry }) => {
        const shared: SharedKafka = {
          kafka: { bootstrap: kafka.bootstrap, folder: kafka.folder },
          registry: { url: registry.url },
        }
        answer.end(JSON.stringify(shared))
      },
      (error: unknown) => {
        // The next file tries again.
        if (started === starting) started = undefined
        answer.statusCode = 500
        answer.end(String(error))
      },
    )
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
      await (await started?.catch(() => undefined))?.[Symbol.asyncDispose]()
    },
  }
}
