/** Keys for RSA recipients of tests: making one takes the processor longer than all else that `init` does. */
import { createPrivateKey, createPublicKey } from 'node:crypto'
import { inject } from 'vitest'
import type { RecipientPair } from '../../services/adapters/keys/key-folder.ts'

let pairs = 0

/** From the run's few, by turns: backups of one test have different ones. */
export function nextPair(): Promise<RecipientPair> {
  const made = inject('recipients')
  const privateKey = createPrivateKey(made[pairs++ % made.length]!)
  return Promise.resolve({ privateKey, publicKey: createPublicKey(privateKey) })
}
