/** CutBoard in memory: members of one group, and one list of posts that all of them read. */
import type { CutBoard, CutRole } from '../../core/ports/cut-board.ts'
import { deferred } from '../../core/running-state.ts'

export class MemoryCutGroup {
  readonly lanes: number
  readonly posts: Buffer[] = []
  readonly #members: { readonly listener: (role: CutRole) => void }[] = []
  #posted = deferred<void>()

  constructor(lanes: number) {
    this.lanes = lanes
  }

  member(): CutBoard {
    return new MemoryCutBoard(this)
  }

  add(listener: (role: CutRole) => void): () => void {
    const member = { listener }
    this.#members.push(member)
    this.#share()
    return () => {
      const at = this.#members.indexOf(member)
      if (at < 0) return
      this.#members.splice(at, 1)
      this.#share()
    }
  }

  post(body: Buffer): void {
    this.posts.push(body)
    this.#posted.resolve()
    this.#posted = deferred()
  }

  get posted(): Promise<void> {
    return this.#posted.promise
  }

  /** The first one leads; lanes go round. */
  #share(): void {
    const lanes = Array.from({ length: this.lanes }, (_, lane) => lane)
    for (const [i, { listener }] of this.#members.entries())
      listener({ leads: i === 0, lanes: lanes.filter((lane) => lane % this.#members.length === i) })
  }
}

class MemoryCutBoard implements CutBoard {
  readonly lanes: number
  readonly failed: Promise<never> = new Promise(() => undefined)
  readonly #group: MemoryCutGroup
  #leave: () => void = () => undefined

  constructor(group: MemoryCutGroup) {
    this.#group = group
    this.lanes = group.lanes
  }

  join(listener: (role: CutRole) => void): Promise<void> {
    this.#leave = this.#group.add(listener)
    return Promise.resolve()
  }

  post(body: Buffer): Promise<void> {
    this.#group.post(body)
    return Promise.resolve()
  }

  async *posts(signal: AbortSignal): AsyncIterable<Buffer> {
    const aborted = deferred<void>()
    signal.addEventListener('abort', () => aborted.reject(signal.reason), { once: true })
    for (let next = 0; ; ) {
      signal.throwIfAborted()
      const { posted } = this.#group
      if (next < this.#group.posts.length) yield this.#group.posts[next++]!
      else await Promise.race([posted, aborted.promise])
    }
  }

  close(): Promise<void> {
    this.#leave()
    return Promise.resolve()
  }
}
