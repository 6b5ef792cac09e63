/**
 * Dialect: what an engine's schemas and rows mean, known without a connection.
 *
 * - Pure: the same answer to the same question, on whatever machine. It opens nothing and waits for nothing.
 * - Statements are for the engine's own target and are never taken apart by anybody else: their `rank`, `phase` and `objects`
 *   are what the others go by.
 * - Records and tables are documents of the engine: what it read of them, beside the few facts that their types here name. Nobody
 *   else looks into one, and a dialect gets back only what itself has made.
 * - A printer is fetched once for a table and called once for a row; nothing else of a dialect is asked for each row.
 */
import type { ByteSource } from '../byte-source.ts'
import type { PieceSink } from '../piece-sink.ts'
import type { ChangePlace, Position } from '../position.ts'
import type { RelationVersion, TableColumn, TableVersion } from '../relation.ts'
import type { RecordRow, SchemaFacts, SchemaStatement, SequenceSample } from '../transaction.ts'
import type { Refusal } from './target.ts'
import { TidemarkError } from '../errors.ts'

export interface Dialect {
  readonly records: RecordWords
  readonly tables: TableWords
  readonly schemas: SchemaWords
  readonly rows: RowWords
  readonly sequences: SequenceWords
}

/** A change of the schema, or a part of one, as the engine recorded it in the stream. */
interface SchemaRecord {
  /** Of what it tells; names change hands. */
  readonly oid: number
}

/** With its number among the changes of its transaction. */
export interface PlacedRecord extends ChangePlace {
  readonly record: SchemaRecord
}

export interface RecordWords {
  /** Whether rows that are inserted into this relation are records. */
  holds(relation: RelationVersion): boolean
  /**
   * @param field a column of such a row as text; undefined where the relation has none of that name
   * @throws TidemarkError OBJECT_CORRUPT where the record has no known form
   */
  parse(field: (name: string) => string | null | undefined): SchemaRecord
  /** Records apart from the stream, as one object holds them, and back. */
  print(records: readonly PlacedRecord[]): Buffer
  read(bytes: Buffer): readonly PlacedRecord[]
  /** For people: the command and what it was about. Undefined for what only tells more of another record's command. */
  text(record: SchemaRecord): string | undefined
  /** The table that the record tells of as it is from there on. */
  tableNamed(record: SchemaRecord): Named | undefined
  /** Which tables the table that the record tells of is a part of. */
  joined(record: SchemaRecord): readonly Joined[]
  /** What it says of sequences: one itself, those of a table's columns, or that one is gone. */
  sequences(record: SchemaRecord): readonly SequenceTold[]
  /**
   * What the records of one transaction, in their order, leave in a state that the stream cannot tell.
   *
   * @throws TidemarkError where more may be missing than a gap of a table tells
   */
  losses(records: readonly RecordRow[]): readonly TableLoss[]
  /** The transaction of a record that no user's command made: somebody waits for it. Undefined of all others. */
  repairedIn(record: RecordRow): string | undefined
  /** Why a table that the stream leaves out has a gap. Where it is one of several reasons, the last one counts. */
  readonly leftOut: string
}

export interface TableLoss extends Named {
  readonly oid: number
  /** For people. */
  readonly reason: string
  /** `checked`: somewhere behind the position up to which the catalog last agreed with the records. Else an earlier place, by itself. */
  readonly since: 'checked' | 'here' | Position
}

export interface Named {
  readonly schema: string
  readonly name: string
}

export interface Joined {
  readonly part: Named
  readonly whole: Named
}

export interface SequenceTold extends Named {
  /** Undefined in older records of a table. */
  readonly oid: number | undefined
  readonly isGone: boolean
}

/** A table as a record or a copy tells it. */
export interface TableDocument {
  readonly version: TableVersion
  /** What the stream says of rows of this version: its stored columns, with the identity's keys. */
  readonly relation: RelationVersion
  /** Whether a backup has its rows: it has some of its own, and they are logged. */
  readonly hasRows: boolean
  /** What made it at the source, and makes it at the target; undefined for a table of the application. */
  readonly extension: string | undefined
}

export interface TableStep extends ChangePlace {
  readonly table: TableDocument
  /** Those that rows are stored with. */
  readonly columns: readonly TableColumn[]
  /** Why rows could not be carried to this version; only a re-snapshot after it helps. */
  readonly gap: string | undefined
}

/** A table's versions, in their order. */
export interface TableSteps {
  readonly steps: readonly TableStep[]
  readonly last: TableStep | undefined
  readonly droppedAt: Position | undefined
}

/**
 * `gap`: why the rows of before cannot be carried to the version; undefined where they can. `made`: the table is there from here on,
 * also where one of its number was dropped before; what it is like nobody has told yet where there is no version.
 */
export type TableChange =
  | {
      readonly kind: 'version'
      readonly table: TableDocument
      readonly gap: string | undefined
      readonly isMade?: boolean
    }
  | { readonly kind: 'made' }
  | { readonly kind: 'drop' }

/** Sees the records of a generation in their order; one that belongs to the next of its table is kept until that comes. */
export interface TableChanges {
  /** @param latest the table as the records before left it; undefined where nothing told of it */
  next(record: SchemaRecord, latest: TableDocument | undefined): TableChange | undefined
}

export interface TableWords {
  /** As a copy of the table stores it. */
  parse(text: string): TableDocument
  changes(): TableChanges
  /** What the statements of the table say in `of`. */
  key(table: TableDocument): string
  statements(table: TableDocument): readonly SchemaStatement[]
  renamed(table: TableDocument, name: string): TableDocument
  /** Bytes that a name may have. */
  readonly nameBytes: number
  /**
   * What the table is made as where the target refuses it as it was, from the nearest form to the plainest.
   *
   * @param missing types, as the version's columns have them, that the target does not have
   */
  plainer(table: TableDocument, missing: ReadonlySet<string>): readonly PlainerTable[]
  /** What is taken from the table where it does not take its rows, one after the other. @param state of the refusal */
  looser(table: TableDocument, state: string): readonly LooserTable[]
  /** Whether the refusal says nothing about the rows: they are worth another try as they are. */
  isOfTheMoment(state: string): boolean
  /** Whether it says that there is no such table. */
  isAbsent(state: string): boolean
  /** For the report alone, of a table that is not there to be loaded. */
  rowsLeft(table: TableDocument): SchemaStatement
}

export interface PlainerTable {
  readonly statement: SchemaStatement
  /** Columns that are text there instead of their type. */
  readonly asText: readonly string[]
  /** For people. */
  readonly instead: string
}

export interface LooserTable {
  /** Run at once; one that is refused does not matter, the rows tell. */
  readonly now: readonly SchemaStatement[]
  /** To have it back, behind the rows. */
  readonly later: readonly SchemaStatement[]
  /** Told as not made, where nothing brings it back. */
  readonly lost: readonly { readonly statement: SchemaStatement; readonly instead: string }[]
  /** Columns are text now. */
  readonly asText: boolean
}

/** What records tell of and cannot make again: a restore lacks it. */
export interface LeftOut {
  /** For people: kind and name. */
  readonly object: string
  readonly reason: string
}

export interface SchemaAtPoint {
  readonly statements: readonly SchemaStatement[]
  readonly notes: readonly string[]
  readonly leftOut: readonly LeftOut[]
}

/** Readings of the schema against the records of their generation, at one point. */
export interface ReadingsAtPoint {
  /** Whether the reading has seen a change that lies behind the point. */
  hasSeenBehind(reading: SchemaFacts): boolean
  /** The reading, with the records up to the point laid over it that it has not seen. */
  schema(reading: SchemaFacts, histories: ReadonlyMap<number, TableSteps>): SchemaAtPoint
}

/** What statements say, and in which order a restore runs them. */
export interface SchemaWords {
  /** @param firstTransaction the first id that was not yet given out when the generation began */
  readings(records: readonly PlacedRecord[], point: Position, firstTransaction: string): ReadingsAtPoint
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
  /** Of a statement that makes a table a part of another one, which has no rows but those of its parts. */
  joined(statement: SchemaStatement): Joined | undefined
  /** Whether one of these tables and views (`schema.name`) is what was lacking, or the type of its rows. */
  isLacking(refusal: Refusal, names: ReadonlySet<string>): boolean
  /** Of a right that the target does not know at all, for people; undefined for every other refusal. */
  unknownRight(refusal: Refusal): string | undefined
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
