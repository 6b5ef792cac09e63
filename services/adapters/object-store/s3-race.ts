/**
 * Many creates of one name in one moment: every request is open, and all of its body but the last byte is sent, before the last byte of any
 * goes out. Creates that merely follow one another quickly miss the services that look first and write later.
 */
import { createHash } from 'node:crypto'
import type { Socket } from 'node:net'
import { Readable } from 'node:stream'
import { setTimeout } from 'node:timers/promises'
import { agentFor, connectS3, endpointOf, type S3Place } from './s3-client.ts'

/** A contender that never gets there is not waited for. */
const GATHER_MS = 10_000
/** From the last connection on, so that each request's head has come to the service. */
const SETTLE_MS = 15

/** Opens when everybody stands at it. */
class Gate {
  readonly #open = Promise.withResolvers<void>()
  readonly #timer: NodeJS.Timeout
  #awaited: number

  constructor(contenders: number) {
    this.#awaited = contenders
    this.#timer = globalThis.setTimeout(() => this.#open.resolve(), GATHER_MS)
  }

  /** Somebody stands there, or will never come. */
  arrive(): void {
    if (--this.#awaited > 0) return
    clearTimeout(this.#timer)
    this.#open.resolve()
  }

  opened(): Promise<void> {
    return this.#open.promise
  }
}

/**
 * @param place of the bucket
 * @param key in it
 * @param bodies one of each contender, of a byte and more
 * @returns what became of each: undefined where it created the object, else the error
 */
export async function raceCreates(
  place: S3Place & { readonly bucket: string },
  key: string,
  bodies: readonly Buffer[],
  silenceMs: number,
): Promise<readonly unknown[]> {
  const isSecure = endpointOf(place).protocol === 'https:'
  const connecting: Promise<void>[] = []
  // Each contender has a connection of its own.
  const agent = agentFor(place, bodies.length, silenceMs, (socket) => {
    connecting.push(connected(socket, isSecure ? 'secureConnect' : 'connect'))
  })
  const client = connectS3(place, agent, silenceMs)
  const gate = new Gate(bodies.length)
  try {
    return await Promise.all(
      bodies.map(async (body) => {
        let stands = false
        const arrive = (): void => {
          if (!stands) gate.arrive()
          stands = true
        }
        try {
          const answer = await client.makeRequestStreamAsync(
            {
              method: 'PUT',
              bucketName: place.bucket,
              objectName: key,
              headers: {
                'If-None-Match': '*',
                'Content-Type': 'application/octet-stream',
                'Content-Length': String(body.length),
              },
            },
            held(body, async () => {
              await Promise.all(connecting)
              arrive()
              await gate.opened()
              await setTimeout(SETTLE_MS)
            }),
            // Over TLS the body is not signed.
            isSecure ? '' : createHash('sha256').update(body).digest('hex'),
            [200],
            place.region,
          )
          answer.resume()
          return undefined
        } catch (error) {
          return error
        } finally {
          arrive()
        }
      }),
    )
  } finally {
    agent.destroy()
  }
}

/** A body whose last byte waits. */
function held(body: Buffer, wait: () => Promise<void>): Readable {
  async function* pieces(): AsyncGenerator<Buffer> {
    yield body.subarray(0, -1)
    await wait()
    yield body.subarray(-1)
  }
  return Readable.from(pieces())
}

/** Resolves when a connection is there, or will never be. */
function connected(socket: Socket, event: 'connect' | 'secureConnect'): Promise<void> {
  return new Promise((resolve) => {
    for (const one of [event, 'error', 'close']) socket.once(one, () => resolve())
  })
}
