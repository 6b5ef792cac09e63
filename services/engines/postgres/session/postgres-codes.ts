/** Codes of errors that only PostgreSQL has: slots, publications, and what Tidemark has in the source. */
import { type CodeFacts, KEPT as kept } from '../../../core/code-facts.ts'

/** What brings back what Tidemark had in the source, where somebody took it away. */
export const MAKE_AGAIN =
  'tidemark init --upgrade --source URL  (of the role that ran init: makes it again), then: tidemark up  (a new generation, with a new base)'

const source = 'The source is unchanged and nothing stored is affected.'

export const POSTGRES_CODES = {
  SOURCE_BUSY: {
    exit: 3,
    retry: 'again',
    means: `${kept} WAL waits on the source, within its budget.`,
    next: 'wait; if it stays so, see who holds locks there (pg_locks, pg_stat_activity), then: tidemark doctor',
  },
  SOURCE_WAL_LEVEL: {
    exit: 3,
    retry: 'person',
    means: source,
    next: 'ALTER SYSTEM SET wal_level = logical; then restart the server',
  },
  SLOT_TAKEN: {
    exit: 3,
    retry: 'again',
    stream: 'taken',
    means: `Another process reads the slot. ${kept}`,
    next: 'stop the other Tidemark, or wait for its connection to end',
  },
  SLOT_LOST: {
    exit: 3,
    retry: 'person',
    stream: 'lost',
    means:
      'The source no longer keeps the WAL that was not yet stored. What is durable can be restored; after it there is a gap.',
    next: 'tidemark up  (it starts a new generation with a new base)',
  },
  SLOT_MISSING: {
    exit: 3,
    retry: 'person',
    stream: 'absent',
    means:
      'There is no slot: somebody dropped it, a failover left it behind, or this is a copy of the source (staging, a clone). Nothing was read or written; what is durable can be restored.',
    next: 'make sure that the URL leads to the database to protect; then: tidemark up --new-generation  (a gap, and a new base)',
  },
  SLOT_AHEAD: {
    exit: 3,
    retry: 'person',
    stream: 'ahead',
    means:
      'The source was acknowledged with more than this ledger holds: either this is an older copy of the store, and the newer one has the rest; or somebody advanced the slot, and changes between the two are gone from it. Nothing was read.',
    next: 'see that the store is the newest one (the right disk is mounted, no older copy lies in its place), then the same command; only where it is: tidemark up --new-generation  (a gap, and a new base)',
  },
  PUBLICATION_MISSING: {
    exit: 3,
    retry: 'person',
    stream: 'cut',
    means: `The publication is gone, or was for a while: what was written then is not in the stream, and making it again brings nothing back. That is a gap of every table. ${kept}`,
    next: MAKE_AGAIN,
  },
  PUBLICATION_UNSAFE: {
    exit: 3,
    retry: 'person',
    stream: 'unseen',
    means: `Changes are left out of the stream. What was written since then is a gap of every table, whatever is set right. ${kept}`,
    next: MAKE_AGAIN,
  },
  INSTALLATION_MISSING: {
    exit: 3,
    retry: 'person',
    stream: 'unseen',
    means: `The schema tidemark is not in the source: somebody dropped it, or \`tidemark uninstall\` did. Schema changes are not recorded since then: a gap of every table. ${kept}`,
    next: MAKE_AGAIN,
  },
  EVENT_TRIGGERS: {
    exit: 3,
    retry: 'person',
    means: `Schema changes would not be recorded. Nothing was read. ${kept}`,
    next: 'tidemark init --upgrade --source URL  (of the role that ran init: makes them again), then: tidemark up',
  },
  INSTALLATION_OLD: {
    exit: 3,
    retry: 'person',
    means: `What an older Tidemark put into the source is not safe to go on with. Nothing was read. ${kept}`,
    next: 'tidemark init --upgrade --source URL  (of the role that ran init)',
  },
  INSTALLATION_NEWER: {
    exit: 3,
    retry: 'person',
    means: `The source was prepared by a newer Tidemark. Nothing was read. ${kept}`,
    next: 'run the newer Tidemark',
  },
} as const satisfies Record<string, CodeFacts>

declare module '../../../core/error-codes.ts' {
  interface DeclaredCodes extends Record<keyof typeof POSTGRES_CODES, CodeFacts> {}
}
