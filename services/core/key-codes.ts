/** Codes of errors with keys and those who hold them. */
import { type CodeFacts, KEPT as kept } from './code-facts.ts'

export const KEY_CODES = {
  KEY_UNREACHABLE: {
    exit: 5,
    retry: 'again',
    means: `The service that holds a recipient's key does not answer. ${kept}`,
    next: 'check the service; up goes on by itself',
  },
  KEY_REFUSED: {
    exit: 5,
    retry: 'person',
    means:
      "The service that holds a recipient's key does not let this process use it. Nothing was written that nobody could open.",
    next: 'grant what the service names: encrypting to a writer, decrypting to a restore',
  },
  KEY_MISSING: {
    exit: 5,
    retry: 'person',
    means: 'The data is intact but cannot be opened here.',
    next: 'bring the keys/restore folder, then the same command with --keys DIR',
  },
  KEY_WRONG: {
    exit: 5,
    retry: 'person',
    means: 'The data is intact, but none of these keys opens it.',
    next: 'use the restore keys of this store; after tidemark keys rotate, those of after it',
  },
  KEY_EXPOSED: {
    exit: 5,
    retry: 'person',
    means: 'Whoever listens on the network could read the backup. Nothing was written.',
    next: 'use an address that is encrypted',
  },
  KEY_FILE_INVALID: {
    exit: 5,
    retry: 'person',
    means: 'Nothing was read or written.',
    next: 'replace the file by the one that init wrote',
  },
} as const satisfies Record<string, CodeFacts>
