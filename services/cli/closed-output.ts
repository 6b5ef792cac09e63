/** Whoever reads what a command says may stop reading, as `head` does: the command's work and its exit code stay as they are. */
import { once } from 'node:events'

/** Thrown where nothing is left to do but to write to an output that nobody reads. */
export class OutputClosed extends Error {}

/** For the whole process: without a listener the first line behind the end would end it with a stack. */
export function outliveReaders(): void {
  for (const stream of [process.stdout, process.stderr])
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (!isClosing(error)) throw error
    })
}

/** Waits where the reader is slower. @throws OutputClosed */
export async function writeSlowly(text: string): Promise<void> {
  if (!process.stdout.writable) throw new OutputClosed()
  if (process.stdout.write(text)) return
  try {
    await once(process.stdout, 'drain')
  } catch (error) {
    throw isClosing(error) ? new OutputClosed() : error
  }
}

function isClosing(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException | null)?.code
  return code === 'EPIPE' || code === 'ERR_STREAM_DESTROYED'
}
