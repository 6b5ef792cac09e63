/**
 * A connection that says nothing: busy, or gone without a word (a firewall, NAT, a lost host)? TCP tells after a quarter of
 * an hour where something is unacknowledged, and after hours where nothing is; so the server is asked over a fresh
 * connection what our backend does. One that waits for us, while we wait for it, is on the other side of a dead line.
 */
import type { Clock } from '../../../core/clock.ts'
import { TidemarkError } from '../../../core/errors.ts'
import { LIMITS } from '../../../core/limits.ts'
import { APPLICATION_NAME } from './names.ts'
import { connect, connectionError } from './session.ts'

export interface WatchedConnection {
  readonly url: string
  readonly clock: Clock
  /** Of the server's process. */
  readonly pid: number
  /** Grows with every byte that comes; undefined while we do not read, or expect nothing. */
  readonly heard: () => number | undefined
  /** Ends the connection. */
  readonly onDead: (error: TidemarkError) => void
  readonly limits?: SilenceLimits
}

export interface SilenceLimits {
  /** Nothing for so long, and the server is asked. */
  readonly silenceMs: number
  /** How long the asking may take. */
  readonly askMs: number
  /** Between two looks at a backend that waits: what it has sent may be under way. */
  readonly lookMs: number
}

type State = 'busy' | 'waiting' | 'gone'

/** Watches until the signal. */
export async function watchSilence(watched: WatchedConnection, signal: AbortSignal): Promise<void> {
  const { clock, heard, limits = LIMITS.silence } = watched
  let last = heard()
  let since = clock.elapsed()
  const silentMs = (): number => {
    const now = heard()
    if (now === undefined || now !== last) {
      last = now
      since = clock.elapsed()
    }
    return clock.elapsed() - since
  }
  let waited = false
  while (!signal.aborted) {
    await clock.sleep(waited ? limits.lookMs : limits.silenceMs / 6, signal).catch(() => undefined)
    if (signal.aborted) return
    if (silentMs() < limits.silenceMs) {
      waited = false
      continue
    }
    const state = await ask(watched, limits.askMs, signal)
    if (signal.aborted) return
    // Something came while we asked: the line is alive.
    if (silentMs() < limits.silenceMs || state === 'busy') {
      waited = false
      continue
    }
    if (state === 'waiting' && !waited) {
      waited = true
      continue
    }
    watched.onDead(
      state instanceof TidemarkError
        ? state
        : new TidemarkError(
            'SOURCE_UNREACHABLE',
            state === 'gone'
              ? 'the connection to the source is gone without a word: the server no longer has it'
              : 'the connection to the source is dead: the server waits for us, and nothing arrives',
          ),
    )
    return
  }
}

/** What the backend does; an error where the server itself does not answer in time. */
async function ask(
  { url, pid }: WatchedConnection,
  withinMs: number,
  signal: AbortSignal,
): Promise<State | TidemarkError> {
  const late = AbortSignal.any([signal, AbortSignal.timeout(withinMs)])
  const asking = backendState(url, pid, late).catch((error: unknown) => connectionError(error, 'source'))
  const over = new Promise<TidemarkError>((resolve) =>
    late.addEventListener(
      'abort',
      () =>
        resolve(
          new TidemarkError(
            'SOURCE_UNREACHABLE',
            'the source is silent, and does not answer when it is asked',
          ),
        ),
      { once: true },
    ),
  )
  return Promise.race([asking, over])
}

async function backendState(url: string, pid: number, signal: AbortSignal): Promise<State> {
  const client = await connect({ url, applicationName: APPLICATION_NAME, role: 'source', signal })
  try {
    const found = await client.query<{ state: string | null; event: string | null }>(
      'SELECT state, wait_event AS event FROM pg_catalog.pg_stat_activity WHERE pid = $1 AND datname = pg_catalog.current_database()',
      [pid],
    )
    const row = found.rows[0]
    if (row === undefined) return 'gone'
    // Waits of a walsender, for us or for new WAL (it would have answered), and of a backend for its client.
    return row.state?.startsWith('idle') === true || /^(WalSender|Client)/.test(row.event ?? '')
      ? 'waiting'
      : 'busy'
  } finally {
    await client.end().catch(() => undefined)
  }
}
