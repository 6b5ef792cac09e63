/** One deadline for a request to a store, the body included: it counts from the last byte that moved, not from the start. */
import { TidemarkError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'

export interface Progress {
  /** Something came or went: the time counts anew. */
  readonly moved: () => void
  /** Aborted when nothing moves any more. */
  readonly signal: AbortSignal
}

/**
 * @param place of the store, for people
 * @throws TidemarkError STORE_UNREACHABLE, which is tried again
 */
export async function withinSilence<T>(
  place: string,
  name: string,
  silenceMs: number | undefined,
  action: (progress: Progress) => Promise<T>,
): Promise<T> {
  const limit = silenceMs ?? LIMITS.storeSilenceMs
  const stop = new AbortController()
  const silent = Promise.withResolvers<never>()
  let timer: NodeJS.Timeout | undefined
  const moved = (): void => {
    clearTimeout(timer)
    timer = setTimeout(() => {
      const error = new TidemarkError('STORE_UNREACHABLE', `${place} has been silent over ${name}`)
      silent.reject(error)
      stop.abort(error)
    }, limit)
  }
  moved()
  try {
    return await Promise.race([action({ moved, signal: stop.signal }), silent.promise])
  } finally {
    clearTimeout(timer)
  }
}

/** Reads a body to its end. */
export async function collect(
  body: AsyncIterable<Buffer | string | Uint8Array>,
  moved: () => void,
): Promise<Buffer> {
  const parts: Buffer[] = []
  for await (const part of body) {
    moved()
    parts.push(part as Buffer)
  }
  return parts.length === 1 ? parts[0]! : Buffer.concat(parts)
}

/** The same bytes, with a sign of progress for each piece. */
export async function* moving<T>(items: AsyncIterable<T>, moved: () => void): AsyncGenerator<T> {
  for await (const item of items) {
    moved()
    yield item
  }
}
