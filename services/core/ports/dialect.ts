/**
 * Dialect: what an engine's schemas and rows mean, known without a connection.
 *
 * - Pure: the same answer to the same question, on whatever machine. It opens nothing and waits for nothing.
 * - Statements are for the engine's own target and are never taken apart by anybody else: their `rank`, `phase` and `objects`
 *   are what the others go by.
 * - A printer is fetched once for a table and called once for a row; nothing else of a dialect is asked for each row.
 */
import type { ByteSource } from '../byte-source.ts'
import type { PieceSink } from '../piece-sink.ts'
import type { RelationVersion } from '../relation.ts'
import type { SchemaStatement, SequenceSample } from '../transaction.ts'
import type { Refusal } from './target.ts'
import { TidemarkError } from '../errors.ts'

export interface Dialect {
  readonly schemas: SchemaWords
  readonly rows: RowWords
  readonly sequences: SequenceWords
}

/** What statements say, and in which order a restore runs them. */
export interface SchemaWords {
  /** @param give.roleAttributes else no role gets an attribute or a membership: that may be more than it has at the target */
  steps(statements: readonly SchemaStatement[], give: { readonly roleAttributes: boolean }): SchemaSteps
  /** What the statement does to who may do what; undefined where it does nothing to that. */
  duty(statement: SchemaStatement): Duty | undefined
  /** Several statements as one that is done or refused as a whole. */
  together(statements: readonly SchemaStatement[]): SchemaStatement
  /** Whether the statement makes a table itself, none of its parts. */
  makesTable(statement: SchemaStatement): boolean
  /** Whether it makes a table whose own rows a backup has. */
  makesRows(statement: SchemaStatement): boolean
  /** Whether one of these tables and views (`schema.name`) is what was lacking. */
  isLacking(refusal: Refusal, names: ReadonlySet<string>): boolean
  /** Of a rule that rows break, the rule for new rows alone; undefined where the refusal is of another kind. */
  forNewRows(refusal: Refusal): RuleForNewRows | undefined
  /** The first lines of a script of statements. @param about one line for people */
  scriptHead(about: string): string
  withoutSecrets(sql: string): string
}

export interface SchemaSteps {
  /** Before the rows. */
  readonly before: readonly SchemaStatement[]
  /** Who may enter schemas: functions look for names in them. */
  readonly access: readonly SchemaStatement[]
  /** After the rows: keys, indexes, views, behaviour, protection of rows. */
  readonly build: readonly SchemaStatement[]
  /** Owners, and rights taken and given: given only to what is protected as it was. */
  readonly rights: readonly SchemaStatement[]
  /** What looks at rows, or runs queries of the source: with all rights in place. */
  readonly check: readonly SchemaStatement[]
  /** What would change how the others are made. */
  readonly last: readonly SchemaStatement[]
}

/** `protection`: of rows, from those who may otherwise read the table. */
export type Duty = 'grant' | 'revoke' | 'protection'

export interface RuleForNewRows {
  /** To be tried; undefined where the rule is there in this form already. */
  readonly statement: SchemaStatement | undefined
  /** Where the statement was made, for people: instead of telling that something could not be. */
  readonly note: string | undefined
  /** What stands in the rule's place, where the statement was made and where it was not. */
  readonly made: string | null
  readonly unmade: string | null
}

export interface RowWords {
  /**
   * The forms in which a table of this relation can be loaded, the cheapest first. The last one can say every value.
   *
   * @param asText whether its columns are text at the target, whatever their types
   */
  printers(relation: RelationVersion, asText: boolean): readonly RowPrinter[]
  /** An empty one. It gives what `Target.digest` gives for the same rows in any order. */
  digest(): RowDigest
}

export interface RowPrinter {
  /** What `Target.load` calls it. */
  readonly form: string
  /** What stands in front of all rows, and behind them. */
  head(sink: PieceSink): void
  tail(sink: PieceSink): void
  /**
   * Appends the row at `source`, which is moved past it. False where a value is unchanged or absent: then the row is of no use.
   *
   * @throws NeedsNextForm
   * @throws RowsRefused where the table takes the value in no form as it is made
   */
  print(source: ByteSource, sink: PieceSink): boolean
}

/** A value that this form cannot say: the table is printed again in the next one. */
export class NeedsNextForm extends TidemarkError {
  constructor() {
    super('TARGET_FAILED', 'a value that only another form can say')
  }
}

export interface RowDigest {
  readonly rows: bigint
  readonly digest: string
  /** What takes the rows of a relation, each at [start, end) of a buffer. */
  taker(relation: RelationVersion): (buffer: Buffer, start: number, end: number) => void
}

/** A sequence as it was at a point. */
export interface SequenceAt extends SequenceSample {
  /** It may have moved between its sample and the point. */
  readonly isBehind: boolean
  /** What it had come to some time behind the point, text: further than that it was not at the point, unless it was set back since. */
  readonly later?: string
}

export interface SequencesAt {
  readonly sequences: readonly SequenceAt[]
  /** Whether one that is not among them was never called; else nobody knows what it gave before the point. */
  readonly restUncalled: boolean
}

export interface SequenceWords {
  /** What gives the target's sequences their values behind a load: never one that was given before the point. */
  values(at: SequencesAt): readonly SchemaStatement[]
  /** For people: which of them were set further than they were seen, and by how much. @param schema what makes them */
  notes(at: SequencesAt, schema: readonly SchemaStatement[]): readonly string[]
}
