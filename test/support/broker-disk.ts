/** What a broker's disk can lose: bits at any time; while the broker is down the end of a partition, a partition's folder, or days. */
import { cp, open, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

const BATCH_HEAD = 12

export class BrokerDisk {
  readonly #folder: string

  /** @param folder the broker's */
  constructor(folder: string) {
    this.#folder = folder
  }

  #partition(topic: string, partition: number): string {
    return join(this.#folder, 'log', `${topic}-${partition}`)
  }

  /** Records from this offset on are gone; the partition has one segment. */
  async shorten(topic: string, partition: number, from: number): Promise<void> {
    const folder = this.#partition(topic, partition)
    for (const name of await readdir(folder))
      if (/\.(index|timeindex|txnindex|snapshot)$/.test(name)) await rm(join(folder, name))
    const file = await open(join(folder, `${'0'.repeat(20)}.log`), 'r+')
    try {
      const head = Buffer.alloc(BATCH_HEAD)
      for (let at = 0; (await file.read(head, 0, BATCH_HEAD, at)).bytesRead === BATCH_HEAD; ) {
        if (head.readBigInt64BE(0) >= BigInt(from)) {
          await file.truncate(at)
          return
        }
        at += BATCH_HEAD + head.readInt32BE(8)
      }
      throw new Error(`${topic}/${partition} has nothing from offset ${from} on`)
    } finally {
      await file.close()
    }
  }

  /** One bit of the last place where a text stands. */
  async turnBit(topic: string, partition: number, text: string): Promise<void> {
    const file = await open(join(this.#partition(topic, partition), `${'0'.repeat(20)}.log`), 'r+')
    try {
      const at = (await file.readFile()).lastIndexOf(text)
      if (at < 0) throw new Error(`${topic}/${partition} has no such text`)
      await file.write(Buffer.from([text.charCodeAt(0) ^ 1]), 0, 1, at)
    } finally {
      await file.close()
    }
  }

  async lose(topic: string, partition: number): Promise<void> {
    await rm(this.#partition(topic, partition), { recursive: true })
  }

  /** As a cluster that was set up anew: nothing is there, under another id. */
  async renew(clusterId: string): Promise<void> {
    const folder = join(this.#folder, 'log')
    for (const name of await readdir(folder))
      if (!['meta.properties', 'bootstrap.checkpoint'].includes(name))
        await rm(join(folder, name), { recursive: true })
    const file = join(folder, 'meta.properties')
    const text = await readFile(file, 'utf8')
    await writeFile(file, text.replace(/^cluster\.id=.*$/m, `cluster.id=${clusterId}`))
  }

  /** As the disk is now. */
  async copyTo(folder: string): Promise<void> {
    await cp(join(this.#folder, 'log'), folder, { recursive: true })
  }

  async restoreFrom(folder: string): Promise<void> {
    await rm(join(this.#folder, 'log'), { recursive: true })
    await cp(folder, join(this.#folder, 'log'), { recursive: true })
  }
}
