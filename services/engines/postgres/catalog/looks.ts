/**
 * Looks at the catalog, each at a position of the WAL and with a snapshot taken behind it. A commit is in the WAL before any
 * snapshot shows it, by the time that a flush or a synchronous standby takes: what a look does not show may be older than its
 * position.
 */

export interface Look {
  /** LSN, text: read before the snapshot was taken. */
  readonly head: string
  /** pg_current_snapshot(). */
  readonly snapshot: string
}

/** Of the newest ones. A transaction that is older than all of them is taken to have committed behind the first. */
const MOST = 512

export class Looks {
  readonly #all: Look[]

  constructor(all: readonly Look[] = []) {
    this.#all = [...all]
  }

  copy(): Looks {
    return new Looks(this.#all)
  }

  add(look: Look): void {
    this.#all.push(look)
    if (this.#all.length > MOST) this.#all.shift()
  }

  /** LSN, text: what the newest look does not show committed behind this. Undefined before the first look. */
  get since(): string | undefined {
    const newest = this.#all.at(-1)
    if (newest === undefined) return undefined
    const running = runningIn(newest.snapshot)
    if (running.length === 0) return newest.head
    const oldest = running.reduce((a, b) => (b < a ? b : a))
    // None of those that run had begun then.
    const before = this.#all.findLast(({ snapshot }) => BigInt(snapshot.split(':')[1] ?? '0') <= oldest)
    return (before ?? this.#all[0]!).head
  }
}

function runningIn(snapshot: string): bigint[] {
  const [, , running = ''] = snapshot.split(':')
  return running === '' ? [] : running.split(',').map(BigInt)
}

/**
 * Whether the snapshot may not show what a transaction wrote, or a subtransaction: those stand in no snapshot, and are younger
 * than their transaction (PostgreSQL manual, pg_current_snapshot).
 */
export function mayBeUnseen(snapshot: string, xid: bigint): boolean {
  const [, next = '0'] = snapshot.split(':')
  return xid >= BigInt(next) || runningIn(snapshot).some((running) => running <= xid)
}
