/** Codes about stores and their copies: with the others they are in `CODES`. */
import { type CodeFacts, KEPT as kept } from './code-facts.ts'

export const STORE_CODES = {
  STORE_UNREACHABLE: { exit: 4, retry: 'again', means: kept, next: 'check the store, then: tidemark doctor' },
  STORE_FULL: {
    exit: 4,
    retry: 'again',
    means: `The store has no room. ${kept}`,
    next: 'make room; up goes on by itself',
  },
  STORE_READ_ONLY: {
    exit: 4,
    retry: 'again',
    means: `The store cannot be written. Reading and restoring still work. ${kept}`,
    next: 'give write access (up goes on by itself), or restore from it',
  },
  STORE_REFUSED: {
    exit: 4,
    retry: 'again',
    means: `The store does not let this process in. ${kept}`,
    next: 'correct the credentials or the URL of the store; up goes on by itself',
  },
  STORE_NO_LOCK: {
    exit: 4,
    retry: 'again',
    means: `Objects are to be locked, and the bucket does not lock: nothing more becomes durable there. ${kept}`,
    next: 'turn on object lock for the bucket (up goes on by itself), or take lock= out of the URL of the store',
  },
  STORE_UNSAFE: {
    exit: 4,
    retry: 'person',
    means:
      'The store cannot keep a backup whole: two writers could overwrite each other. Nothing was written.',
    next: 'use another store, or another version of its server',
  },
  STORE_NOT_FOUND: {
    exit: 4,
    retry: 'person',
    means: 'The store has no such object.',
    next: 'tidemark verify',
  },
  STORE_NOT_EMPTY: {
    exit: 4,
    retry: 'person',
    means: 'The store already belongs to a backup. Nothing was written.',
    next: 'choose an empty store, or run with its own tidemark.yaml',
  },
  STORE_ROLLED_BACK: {
    exit: 6,
    retry: 'person',
    means:
      'What is in the store is not what was durable before: its newest entries were cut off, or an older or another copy is served. Nothing was read or written.',
    next: 'bring back the right store; or, to go on with what is there, the same command with --accept-loss',
  },
  COPY_DIFFERS: {
    exit: 6,
    retry: 'person',
    means:
      'A copy is not a copy of this backup: it has entries or objects that the primary does not have. Nothing was written over.',
    next: 'take the copy out of tidemark.yaml, or empty it: it is then filled anew',
  },
  COPY_AHEAD: {
    exit: 6,
    retry: 'person',
    means: 'A copy has entries that the primary store has lost. Nothing was read or written beyond it.',
    next: 'tidemark copy --from COPY --to PRIMARY; or, to go on without what the copy has, the same command with --accept-loss',
  },
  STORE_SUPERSEDED: {
    exit: 4,
    retry: 'person',
    means:
      'Another store of this backup was made the primary one. Nothing more is written into this one, nor acknowledged to the source.',
    next: 'write that store under store: in tidemark.yaml and this one under copies:, then: tidemark up  (what this one has of its own is set aside)',
  },
  STORE_IS_COPY: {
    exit: 4,
    retry: 'person',
    means:
      'This store is filled from the primary store of the backup; written to by itself, the two would part. Nothing was written. Reading and restoring work.',
    next: 'use the primary store; where that is lost: tidemark promote --store URL',
  },
  STORE_FOREIGN: {
    exit: 4,
    retry: 'person',
    means: 'The store is not the one that these keys belong to. Nothing was read or written.',
    next: 'check --store and --keys',
  },
} as const satisfies Record<string, CodeFacts>
