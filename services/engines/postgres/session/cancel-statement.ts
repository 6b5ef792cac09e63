/**
 * Ends what a connection of ours has under way at the server. Closing the connection does not: the server looks whether anybody is
 * there when it has something to say, and an index, a check or a wait for a lock may go on for hours, with its locks.
 */
import { connect as open } from 'node:net'
import type pg from 'pg'

/** PostgreSQL manual, "Frontend/Backend Protocol", CancelRequest. */
const CANCEL_REQUEST = 80_877_102
/** For the way to the server. What does not get through is left to the server. */
const LIMIT_MS = 5_000

/** In the clear, as every server takes it: what it could tell an eavesdropper is how to end what ends here. */
export function cancelStatement(client: pg.Client): void {
  const { processID, secretKey } = client as unknown as {
    readonly processID: number | null
    readonly secretKey: number | null
  }
  if (processID === null || secretKey === null) return
  const request = Buffer.alloc(16)
  request.writeInt32BE(16, 0)
  request.writeInt32BE(CANCEL_REQUEST, 4)
  request.writeInt32BE(processID, 8)
  request.writeInt32BE(secretKey, 12)
  const { host, port } = client
  const socket = host.startsWith('/') ? open(`${host}/.s.PGSQL.${port}`) : open(port, host)
  socket.setTimeout(LIMIT_MS, () => socket.destroy())
  socket.on('error', () => undefined)
  socket.on('connect', () => socket.end(request))
  // The server says nothing: its end of the connection is read to see it closed.
  socket.resume()
}
