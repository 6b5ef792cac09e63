/** A proxy before one broker that knows enough of Kafka's protocol to lose chosen answers, and cuts connections. */
import { connect as dial, createServer, type Server, type Socket } from 'node:net'

/** Kafka's numbers of requests (protocol guide, "API Keys"). */
export const API = { produce: 0, fetch: 1, endTransaction: 26 } as const

export class KafkaProxy implements AsyncDisposable {
  readonly port: number
  readonly #server: Server
  readonly #open = new Set<Socket>()
  #far = 0
  /** Asked for each answer, by the number of its request: the connection is cut instead where it says so. */
  loses: (api: number) => boolean = () => false
  /** Answers that were lost, by the number of their request. */
  readonly lost = new Map<number, number>()

  private constructor(server: Server, port: number) {
    this.#server = server
    this.port = port
    server.on('connection', (near) => this.#pass(near))
  }

  static async open(): Promise<KafkaProxy> {
    const server = createServer()
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const address = server.address()
    if (address === null || typeof address === 'string') throw new Error('no port')
    return new KafkaProxy(server, address.port)
  }

  /** Where the broker listens. */
  to(port: number): void {
    this.#far = port
  }

  cutAll(): void {
    for (const socket of this.#open) socket.destroy()
  }

  #pass(near: Socket): void {
    const far = dial(this.#far, '127.0.0.1')
    const asked = new Map<number, number>()
    const end = (): void => void (near.destroy(), far.destroy(), this.#open.delete(near))
    this.#open.add(near)
    const requests = frames((frame) => void asked.set(frame.readInt32BE(4), frame.readInt16BE(0)))
    const answers = frames((frame) => {
      const id = frame.readInt32BE(0)
      const api = asked.get(id)
      asked.delete(id)
      if (api === undefined || !this.loses(api)) return
      this.lost.set(api, (this.lost.get(api) ?? 0) + 1)
      end()
    })
    near.on('data', (chunk: Buffer) => {
      requests(chunk)
      far.write(chunk)
    })
    far.on('data', (chunk: Buffer) => {
      answers(chunk)
      if (!near.destroyed) near.write(chunk)
    })
    for (const socket of [near, far]) socket.on('error', end).on('close', end)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cutAll()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}

/** Cuts a stream into its messages: four bytes of size, then so many. Told of each as soon as its head is there. */
function frames(onFrame: (head: Buffer) => void): (chunk: Buffer) => void {
  let held = Buffer.alloc(0)
  let skip = 0
  return (chunk) => {
    held = Buffer.concat([held, chunk])
    for (;;) {
      const passed = Math.min(skip, held.length)
      skip -= passed
      held = held.subarray(passed)
      if (skip > 0 || held.length < 12) return
      skip = 4 + held.readInt32BE(0)
      onFrame(held.subarray(4, 12))
    }
  }
}
