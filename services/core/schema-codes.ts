/** Codes about a schema that does not come back as it is: in a restore, and in a scratch database before one. */
import type { CodeFacts } from './code-facts.ts'

export const SCHEMA_CODES = {
  SCHEMA_INCOMPLETE: {
    exit: 11,
    retry: 'person',
    means: 'All rows are in the target. Some objects of the schema are not, or are not as they were.',
    next: 'mend what the file names, and run its statements',
  },
  SCHEMA_UNMADE: {
    exit: 11,
    retry: 'person',
    means: 'A restore brings all rows back, and lists what of the schema it could not make in a file.',
    next: 'mend it at the source, then: tidemark doctor --scratch',
  },
  SCHEMA_DIFFERS: {
    exit: 11,
    retry: 'person',
    means: 'A restore brings all rows back; this of the schema would not be as the source has it.',
    next: 'compare with a dump of the schema by its own tools, and report it',
  },
  SCHEMA_UNTRIED: {
    exit: 8,
    retry: 'person',
    means: 'Nothing is known of what a restore could not make. Nothing of the backup was read.',
    next: 'tidemark doctor --scratch  with an empty database',
  },
} as const satisfies Record<string, CodeFacts>
