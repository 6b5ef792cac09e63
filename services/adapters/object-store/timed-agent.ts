/** Agents whose sockets do not wait for ever. */
import { Agent as PlainAgent, type AgentOptions as PlainOptions } from 'node:http'
import { Agent, type AgentOptions } from 'node:https'
import type { Socket } from 'node:net'

type OnSocket = (socket: Socket) => void

/**
 * A socket that says nothing for so long while somebody waits is dead. The agent has to know the time as well: it sets its
 * own on each socket that it keeps for the next request, and without one that is none.
 */
function watched<S extends Pick<Socket, 'setTimeout' | 'destroy'>>(socket: S, silenceMs: number): S {
  socket.setTimeout(silenceMs, () =>
    socket.destroy(Object.assign(new Error('silent'), { code: 'ETIMEDOUT' })),
  )
  return socket
}

export class TimedAgent extends Agent {
  readonly #silenceMs: number
  readonly #onSocket: OnSocket | undefined
  /** @param onSocket told of each new connection before it is there */
  constructor(options: AgentOptions, silenceMs: number, onSocket?: OnSocket) {
    super({ ...options, timeout: silenceMs })
    this.#silenceMs = silenceMs
    this.#onSocket = onSocket
  }
  override createConnection(
    ...args: Parameters<Agent['createConnection']>
  ): ReturnType<Agent['createConnection']> {
    const socket = super.createConnection(...args)
    if (socket === undefined || socket === null) return socket
    this.#onSocket?.(socket as Socket)
    return watched(socket as Socket, this.#silenceMs)
  }
}

export class TimedPlainAgent extends PlainAgent {
  readonly #silenceMs: number
  readonly #onSocket: OnSocket | undefined
  /** @param onSocket told of each new connection before it is there */
  constructor(options: PlainOptions, silenceMs: number, onSocket?: OnSocket) {
    super({ ...options, timeout: silenceMs })
    this.#silenceMs = silenceMs
    this.#onSocket = onSocket
  }
  override createConnection(
    ...args: Parameters<PlainAgent['createConnection']>
  ): ReturnType<PlainAgent['createConnection']> {
    const socket = super.createConnection(...args)
    if (socket === undefined || socket === null) return socket
    this.#onSocket?.(socket as Socket)
    return watched(socket as Socket, this.#silenceMs)
  }
}
