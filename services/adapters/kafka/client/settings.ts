/** The settings of a cluster. */
import type { Clock } from '../../../core/clock.ts'
import type { CutBoard } from '../../../core/ports/cut-board.ts'
import type { TokenSettings } from './bearer-token.ts'
import type { KafkaClient } from './client.ts'

export interface KafkaSettings {
  readonly brokers: readonly string[]
  readonly clientId: string
  /** TLS; with an own certificate authority where it is given. */
  readonly tls: { readonly ca: string | undefined } | undefined
  readonly sasl: KafkaLogin | undefined
  readonly clock: Clock
  /** A broker in memory, as tests have it. */
  readonly clients?: KafkaClients | undefined
}

/** What speaks with the brokers: who has others than the network's gives them. */
export interface KafkaClients {
  client(): KafkaClient
  board(): CutBoard
}

type KafkaLogin =
  | {
      readonly mechanism: 'plain' | 'scram-sha-256' | 'scram-sha-512'
      readonly username: string
      readonly password: string
    }
  | ({ readonly mechanism: 'oauthbearer' } & TokenSettings)
