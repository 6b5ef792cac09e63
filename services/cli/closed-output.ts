/** Whoever reads what a command says may stop reading, as `head` does: the command's work and its exit code stay as they are. */
import { once } from 'node:events'
import { TidemarkError } from '../core/errors.ts'

/** Thrown where nothing is left to do but to write to an output that nobody reads. */
export class OutputClosed extends Error {}

let lost: NodeJS.ErrnoException | undefined

/** For the whole process: without a listener the first line that cannot be written would end it with a stack. */
export function outliveReaders(): void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (!isClosing(error)) lost ??= error
  })
  // Whoever would be told of it reads this very output.
  process.stderr.on('error', () => undefined)
}

/** What keeps standard output from being written (a full disk, a terminal that is gone), other than a reader that has enough. */
export function outputFailure(): TidemarkError | undefined {
  if (lost === undefined) return undefined
  return new TidemarkError('OUTPUT_FAILED', `standard output cannot be written: ${lost.code ?? lost.name}`, {
    cause: lost,
  })
}

/** Waits where the reader is slower. @throws OutputClosed */
export async function writeSlowly(text: string): Promise<void> {
  if (!process.stdout.writable) throw new OutputClosed()
  if (process.stdout.write(text)) return
  try {
    await once(process.stdout, 'drain')
  } catch (error) {
    // outputFailure() says what it was.
    throw new OutputClosed('standard output is over', { cause: error })
  }
}

function isClosing(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException | null)?.code
  return code === 'EPIPE' || code === 'ERR_STREAM_DESTROYED'
}
