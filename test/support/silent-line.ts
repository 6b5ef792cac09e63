/** A way to a server that can go silent without closing, as behind a firewall that forgets. */
import { createServer, connect as dial, type Server, type Socket } from 'node:net'

/** Passes bytes on until it is told to be silent: then connections stay open, and nothing comes or goes. */
export class Line {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  /** Connections made so far. */
  made = 0
  isSilent = false
  newAreSilent = false
  /** Each piece waits for so long before it goes on: slow, but moving. */
  pieceMs = 0

  constructor(far: URL) {
    this.#server = createServer((near) => {
      this.made++
      const isNew = this.isSilent
      const other = dial(Number(far.port), far.hostname)
      const dead = (): boolean => this.isSilent && (!isNew || this.newAreSilent)
      for (const [from, to] of [
        [near, other],
        [other, near],
      ] as const) {
        this.#sockets.add(from)
        from.on('data', (chunk: Buffer) => {
          if (dead()) return
          if (this.pieceMs === 0) {
            to.write(chunk)
            return
          }
          from.pause()
          setTimeout(() => {
            to.write(chunk)
            from.resume()
          }, this.pieceMs)
        })
        from
          .on('error', () => undefined)
          .on('close', () => {
            // Behind the last piece.
            if (this.pieceMs > 0) setTimeout(() => to.destroy(), 2 * this.pieceMs)
            else if (!dead()) to.destroy()
          })
      }
    })
  }

  async open(url: string): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve))
    const address = this.#server.address()
    if (address === null || typeof address === 'string') throw new Error('no port')
    const through = new URL(url)
    through.port = String(address.port)
    return through.toString()
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy()
    this.#server.close()
  }
}
