/** Length and hash of a stream's bytes, none of them kept. */
import { createHash } from 'node:crypto'
import type { ObjectDigest } from '../../core/ports/object-store.ts'

export async function digestOf(stream: AsyncIterable<unknown>): Promise<ObjectDigest> {
  const hash = createHash('sha256')
  let bytes = 0
  for await (const part of stream) {
    hash.update(part as Buffer)
    bytes += (part as Buffer).length
  }
  return { bytes, sha256: hash.digest('hex') }
}
