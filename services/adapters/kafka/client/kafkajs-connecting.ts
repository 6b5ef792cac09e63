/**
 * kafkajs 2.2.4 opens a connection for every request that finds none, also while one is being opened: requests to one broker at
 * once leave sockets behind that nobody closes, and some wait for answers on the wrong one. Put right before kafkajs is loaded
 * (pinned to the version): whoever comes while a connection is being opened waits for that one.
 */
import { createRequire } from 'node:module'

interface Connection {
  isConnected(): boolean
  connect(): Promise<unknown>
}

interface Pool {
  readonly pool: readonly Connection[]
}

const opening = new WeakMap<Connection, Promise<unknown>>()

export async function getConnection(this: Pool, index = 0): Promise<Connection> {
  const connection = this.pool[index]!
  if (connection.isConnected()) return connection
  let open = opening.get(connection)
  if (open === undefined) {
    open = connection.connect().finally(() => opening.delete(connection))
    opening.set(connection, open)
  }
  await open
  return connection
}

const loaded = createRequire(import.meta.url)('kafkajs/src/network/connectionPool.js') as {
  prototype: { getConnection: typeof getConnection }
}
loaded.prototype.getConnection = getConnection
