/** Agents whose sockets do not wait for ever. */
import { Agent as PlainAgent, type AgentOptions } from 'node:http'
import { Agent } from 'node:https'
import type { Socket } from 'node:net'

/** A socket that says nothing for so long while somebody waits is dead. */
const SILENCE_MS = 30_000

function watched<S extends Pick<Socket, 'setTimeout' | 'destroy'>>(socket: S): S {
  socket.setTimeout(SILENCE_MS, () =>
    socket.destroy(Object.assign(new Error('silent'), { code: 'ETIMEDOUT' })),
  )
  return socket
}

export class TimedAgent extends Agent {
  override createConnection(
    ...args: Parameters<Agent['createConnection']>
  ): ReturnType<Agent['createConnection']> {
    const socket = super.createConnection(...args)
    return socket === undefined || socket === null ? socket : watched(socket as Socket)
  }
}

export class TimedPlainAgent extends PlainAgent {
  constructor(options: AgentOptions) {
    super(options)
  }
  override createConnection(
    ...args: Parameters<PlainAgent['createConnection']>
  ): ReturnType<PlainAgent['createConnection']> {
    const socket = super.createConnection(...args)
    return socket === undefined || socket === null ? socket : watched(socket as Socket)
  }
}
