/** KeyProvider in memory: one random AES-256 key, for tests that are about something else. */
import type { Randomness } from '../../core/clock.ts'
import type { KeyProvider } from '../../core/ports/key-provider.ts'
import { aesKeyring, openWith, sealWith } from '../../formats/envelope.ts'

export class MemoryKeys implements KeyProvider {
  readonly recipients = ['aes:memory']
  readonly canOpen = true
  readonly #secret: Buffer

  constructor(randomness: Randomness) {
    this.#secret = randomness.bytes(32)
  }

  seal(secret: Buffer, context: Readonly<Record<string, string>>): Promise<Buffer> {
    return sealWith(aesKeyring('memory', this.#secret), secret, context)
  }

  open(sealed: Buffer, context: Readonly<Record<string, string>>): Promise<Buffer> {
    return openWith(aesKeyring('memory', this.#secret), sealed, context)
  }
}
