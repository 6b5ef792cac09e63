/**
 * The codes of errors: for each the exit code, whether trying again can help, what it means for the data and the next
 * command to type. Those of one engine are declared in its folder and joined by the wiring: to the types by merging into
 * `DeclaredCodes`, to the table by `joinCodes`.
 */
import { type CodeFacts, type StreamTrouble, KEPT as kept } from './code-facts.ts'
import { KEY_CODES } from './key-codes.ts'
import { SCHEMA_CODES } from './schema-codes.ts'
import { STORE_CODES } from './store-codes.ts'

const source = 'The source is unchanged and nothing stored is affected.'

/** Exit codes: 1 unexpected, 2 usage or configuration, 3 source, 4 store, 5 keys, 6 damage, 7 point, 8 target, 9 gap, 10 not proven, 11 restored, but not the whole schema, 12 set, but not durable yet, 13 not protected, 130 interrupted. */
export const CODES = {
  USAGE: { exit: 2, retry: 'person', means: 'Nothing was done.', next: 'tidemark --help' },
  CONFIG_INVALID: {
    exit: 2,
    retry: 'person',
    means: 'Nothing was done.',
    next: 'correct tidemark.yaml, then: tidemark doctor',
  },
  CONFIG_MISSING: {
    exit: 2,
    retry: 'person',
    means: 'Nothing was done.',
    next: 'tidemark init --source URL --store URL',
  },
  PORT_TAKEN: {
    exit: 2,
    retry: 'person',
    means: 'Nothing was read or written.',
    next: 'stop what listens there, or choose another: --http-port N  (0: one that is free)',
  },
  OUTPUT_FAILED: {
    exit: 1,
    retry: 'person',
    means:
      'What the command was to do is done, as far as no other error says otherwise; what it said is lost.',
    next: 'make room where standard output goes, then, for a command that only says something, the same again',
  },
  FILE_REFUSED: {
    exit: 2,
    retry: 'person',
    means: kept,
    next: 'let this account read and write there, or make room, or run where it may; then the same command again',
  },
  CONSENT_NEEDED: {
    exit: 2,
    retry: 'person',
    means: 'Nothing was changed.',
    next: 'if that is what you want: the same command with --yes',
  },
  SOURCE_UNREACHABLE: {
    exit: 3,
    retry: 'again',
    means: `${kept} log waits on the source, within its budget.`,
    next: 'see that the server runs and can be reached from here, or correct the source URL, then: tidemark doctor',
  },
  SOURCE_LOGIN_REFUSED: {
    exit: 3,
    retry: 'person',
    means: source,
    next: 'correct user or password in the source URL, then: tidemark doctor',
  },
  SOURCE_UNSUITABLE: { exit: 3, retry: 'person', means: source, next: 'tidemark doctor' },
  SOURCE_PRIVILEGE: {
    exit: 3,
    retry: 'person',
    means: source,
    next: 'grant what the message names, then: tidemark doctor',
  },
  SOURCE_CHANGED: {
    exit: 3,
    retry: 'person',
    means: 'This URL leads to another database than the one in the ledger. Nothing was written.',
    next: 'correct the source URL; for a new database: tidemark init with a new store',
  },
  SOURCE_SETTING: {
    exit: 3,
    retry: 'person',
    means: 'A session setting that changes the text of values could not be fixed. Nothing was read.',
    next: 'tidemark doctor',
  },
  ROW_TOO_LARGE: {
    exit: 3,
    retry: 'person',
    means: `Nothing was acknowledged that is not stored. ${kept}`,
    next: 'set source.largestRow higher in tidemark.yaml, and give the process the memory: twice as much beside 512 MiB',
  },
  SOURCE_DIVERGED: {
    exit: 3,
    retry: 'person',
    means:
      'This source does not have what is stored: it was set back to an older state, or is a copy that went its own way. Nothing was read or acknowledged.',
    next: 'correct the source URL; or, to protect this database from now on: tidemark up --new-generation  (a gap, and a new base)',
  },
  PROTOCOL: { exit: 3, retry: 'person', means: kept, next: 'report this with the server version' },
  ...STORE_CODES,
  LOG_UNREACHABLE: {
    exit: 4,
    retry: 'again',
    means: `The change log cannot be reached. ${kept}`,
    next: 'check kafka.brokers and kafka.registry; up goes on by itself',
  },
  LOG_REFUSED: {
    exit: 4,
    retry: 'person',
    means: kept,
    next: 'mend what the message names, then start up again',
  },
  LOG_FENCED: {
    exit: 5,
    retry: 'person',
    means: `Another process writes this change log. ${kept}`,
    next: 'stop one of the two',
  },
  LOG_HOLE: {
    exit: 6,
    retry: 'person',
    means:
      'The change log lost records that are not in the store yet. Nothing was acknowledged beyond the store.',
    next: 'tidemark up --new-generation  (records the gap and takes a new base)',
  },
  LOG_UNKNOWN: {
    exit: 6,
    retry: 'person',
    means:
      'The change log holds a record that this version does not understand; going on could lose data. Nothing was acknowledged beyond the store.',
    next: 'run the version of the replicator, or a newer one: it goes on where this one stopped',
  },
  LOG_FOREIGN: {
    exit: 6,
    retry: 'person',
    means: 'Somebody else writes into the topics of the backup.',
    next: 'give the backup a prefix of its own, and take away write access from others',
  },
  SPILL_FAILED: {
    exit: 1,
    retry: 'person',
    means: 'The target is not complete. It is marked as such; the backup is intact.',
    next: 'make room there or set TMPDIR to a folder with room for the changes of the largest tables, then run the same command again',
  },
  PRUNE_CLOCK: {
    exit: 4,
    retry: 'person',
    means: 'Nothing was taken away: what is old cannot be told by a clock that is wrong.',
    next: 'keep the clocks by NTP, then the same command again',
  },
  WRITER_FENCED: {
    exit: 4,
    retry: 'person',
    means: `Another Tidemark took over this backup. ${kept}`,
    next: 'tidemark status',
  },
  SIGNER_REFUSED: {
    exit: 5,
    retry: 'person',
    means: 'The signing key of this process may not write what was to be written. Nothing was written.',
    next: 'use the keys folder that `tidemark keys rotate-signer` wrote; for what only a keeper may do: --keys with keys/restore',
  },
  ...KEY_CODES,
  OBJECT_CORRUPT: {
    exit: 6,
    retry: 'person',
    means: 'A stored object is not what the ledger says. It was not used.',
    next: 'tidemark verify  (names every damaged range); tidemark scrub mends from a copy; without one, points before the damage can be restored, and with tidemark backup base new ones',
  },
  OBJECT_MISSING: {
    exit: 6,
    retry: 'person',
    means: 'A stored object that the ledger names is gone.',
    next: 'tidemark verify  (names every damaged range)',
  },
  LEDGER_BROKEN: {
    exit: 6,
    retry: 'person',
    means:
      'The ledger was altered or has lost an entry; nothing behind the break is trusted. What lies before it is proven and can be restored.',
    next: 'tidemark windows  (what can be restored); where a copy has the entry as it was: the same command with --copy URL, or bring the entry back from there; to protect the source again without it: tidemark uninstall, then tidemark init with another --store, --keys and --config',
  },
  LEDGER_OVERTAKEN: {
    exit: 4,
    retry: 'person',
    means:
      'Somebody else wrote to the ledger meanwhile, and this no longer fits behind it. Nothing was written.',
    next: 'the same command again',
  },
  LEDGER_UNKNOWN: {
    exit: 6,
    retry: 'person',
    means: 'The ledger holds an entry that this version does not understand; going on could lose data.',
    next: 'use the version that wrote it, or a newer one',
  },
  FOLD_MISMATCH: {
    exit: 6,
    retry: 'person',
    means:
      'The stored changes do not fit the stored base: rows are missing or doubled. The target is not complete.',
    next: 'tidemark verify, and report this',
  },
  POINT_INVALID: {
    exit: 7,
    retry: 'person',
    means: 'Nothing was restored.',
    next: 'give a time with zone (2026-01-31T14:05:00Z), an LSN, xid:N, before:xid:N, marker:NAME (each with @GENERATION where two have it), or latest',
  },
  POINT_AMBIGUOUS: {
    exit: 7,
    retry: 'person',
    means: 'Nothing was restored: more than one generation has what this point names.',
    next: 'the same with @GENERATION: tidemark windows lists them',
  },
  POINT_BEFORE_WINDOW: {
    exit: 7,
    retry: 'person',
    means: 'Nothing was restored: the backup does not reach back to this point.',
    next: 'tidemark windows',
  },
  POINT_AFTER_HEAD: {
    exit: 7,
    retry: 'person',
    means: 'Nothing was restored: the backup does not reach this point (yet).',
    next: 'tidemark windows',
  },
  POINT_UNKNOWN: {
    exit: 7,
    retry: 'person',
    means: 'Nothing was restored: no such transaction or marker is in the backup.',
    next: 'tidemark find',
  },
  NO_BASE: {
    exit: 7,
    retry: 'person',
    means: 'Nothing was restored: the backup has no finished base yet.',
    next: 'tidemark up  (wait for "streaming")',
  },
  TARGET_UNREACHABLE: { exit: 8, retry: 'person', means: 'Nothing was restored.', next: 'check --into' },
  TARGET_NOT_EMPTY: {
    exit: 8,
    retry: 'person',
    means:
      'The target holds tables. Nothing was changed in it. A restore that has finished leaves no mark of itself: this may be what one has made.',
    next: 'where a restore into it ended with exit code 0 or 11, it is done, and its last lines say what it reached; else create an empty database and restore into that',
  },
  TARGET_IS_SOURCE: {
    exit: 8,
    retry: 'person',
    means: 'The target is the source itself. Nothing was changed in it.',
    next: 'create an empty database and restore into that',
  },
  TARGET_UNSUITABLE: {
    exit: 8,
    retry: 'person',
    means: 'The target cannot hold this database as it was. Nothing was changed in it.',
    next: 'create the database as the message says',
  },
  TARGET_FAILED: {
    exit: 8,
    retry: 'person',
    means: 'The target is not complete. It is marked as such; the backup is intact.',
    next: 'mend the cause, then run the same restore again',
  },
  TARGET_FULL: {
    exit: 8,
    retry: 'person',
    means: 'The target is not complete. It is marked as such; the backup is intact.',
    next: 'make room at the target, then run the same restore again: it goes on where it stopped',
  },
  ...SCHEMA_CODES,
  GAP: {
    exit: 9,
    retry: 'person',
    means:
      'The point lies behind or inside a recorded gap; restoring across it would leave out changes. Nothing was restored.',
    next: 'tidemark windows',
  },
  NOT_PROVEN: {
    exit: 10,
    retry: 'person',
    means: 'The result was not proven equal.',
    next: 'tidemark verify',
  },
  NOT_PROTECTED: {
    exit: 13,
    retry: 'person',
    means: `What the source commits now may not be in the backup, or could not be restored. ${kept}`,
    next: 'tidemark doctor',
  },
  MARKER_EXISTS: {
    exit: 2,
    retry: 'person',
    means: 'Nothing was written. The marker that has this name stays where it is.',
    next: 'tidemark mark with another name  (tidemark windows lists them)',
  },
  MARKER_NOT_DURABLE: {
    exit: 12,
    retry: 'person',
    means:
      'The marker keeps its place in the source, behind everything that had committed, and becomes part of the backup when `up` runs. Until then no restore finds it. Nothing stored is affected.',
    next: 'tidemark up',
  },
  INTERRUPTED: { exit: 130, retry: 'person', means: kept, next: 'run the same command again' },
  INTERNAL: { exit: 1, retry: 'person', means: kept, next: 'report this' },
} as const satisfies Record<string, CodeFacts>

/** A folder that has codes of its own merges its table into this. */
export interface DeclaredCodes {}

export type ErrorCode = keyof typeof CODES | keyof DeclaredCodes

const table = new Map<string, CodeFacts>(Object.entries(CODES))

/** Before the first error of theirs is asked what it means. Idempotent. */
export function joinCodes(codes: Readonly<Record<keyof DeclaredCodes, CodeFacts>>): void {
  for (const [code, facts] of Object.entries<CodeFacts>(codes)) table.set(code, facts)
}

/** Of a code that nobody joined nothing is known but that it is an error. */
export function factsOf(code: ErrorCode): CodeFacts {
  return table.get(code) ?? CODES.INTERNAL
}

/** Why a source's stream cannot go on as it was; undefined where the code says nothing of that. */
export function streamTrouble(code: ErrorCode): StreamTrouble | undefined {
  return factsOf(code).stream
}

export function allCodes(): readonly (readonly [string, CodeFacts])[] {
  return [...table]
}

export function isErrorCode(code: string): code is ErrorCode {
  return table.has(code)
}
