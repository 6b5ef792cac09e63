/**
 * Events as transactions: where each begins and ends, by both servers' rules, with its rows and statements between. What cannot be
 * taken as rows is told as that, every time and never as nothing (hazards 53-56).
 */
import { TidemarkError } from '../../../core/errors.ts'
import { readMariadbGtid, readMysqlGtid, readXaPrepare, type TransactionBegin } from '../events/begin.ts'
import { ByteCursor } from '../events/byte-cursor.ts'
import { ARTIFICIAL_FLAG, type BinlogEvent, EVENT, IGNORABLE_FLAG, readEvent } from '../events/event.ts'
import { payloadEvents, unpacked } from '../events/packed.ts'
import { openingWords, type QueryEvent, readQuery } from '../events/query.ts'
import { isFull, readRowsEvent, requireColumns, type RowsEvent, type RowsKind } from './rows.ts'
import { readTableMap, type TableMap } from '../events/table-map.ts'

export type BinlogItem =
  | { readonly kind: 'begin'; readonly begin: TransactionBegin }
  | { readonly kind: 'rows'; readonly table: TableMap; readonly rows: RowsEvent }
  /** A schema change, or whatever else is logged as text and changes no rows of a table by itself. */
  | { readonly kind: 'statement'; readonly query: QueryEvent; readonly words: string }
  /** Rows changed and the log does not say which: `table` where it names the table. */
  | { readonly kind: 'untold'; readonly why: Untold; readonly table: TableMap | undefined }
  | { readonly kind: 'end'; readonly outcome: Outcome; readonly committedAt: bigint }
  /** The rows that follow count only if its id is decided so, later; one that ends by `committed` was decided at once. */
  | { readonly kind: 'xa start' }
  /** Nothing happens, or this is what every file begins with. */
  | { readonly kind: 'quiet' }

/** `prepared`: neither, until its XA COMMIT or XA ROLLBACK comes as a transaction of its own. */
type Outcome =
  | { readonly kind: 'committed' }
  | { readonly kind: 'rolled back' }
  | { readonly kind: 'prepared'; readonly xid: string }
  | { readonly kind: 'decided'; readonly xid: string | undefined; readonly commits: boolean }

/** Why rows are not known. */
type Untold = 'statement' | 'partial row image' | 'partial JSON' | 'rolled back in part' | 'incident'

interface Row {
  readonly kind: RowsKind
  /** Version 2 of the event. */
  readonly hasExtra: boolean
  readonly isPacked: boolean
}

const row = (kind: RowsKind, hasExtra: boolean, isPacked = false): Row => ({ kind, hasExtra, isPacked })
const ROWS: ReadonlyMap<number, Row> = new Map([
  [EVENT.writeRowsV1, row('write', false)],
  [EVENT.updateRowsV1, row('update', false)],
  [EVENT.deleteRowsV1, row('delete', false)],
  [EVENT.writeRows, row('write', true)],
  [EVENT.updateRows, row('update', true)],
  [EVENT.deleteRows, row('delete', true)],
  [EVENT.mariadbWriteRowsCompressedV1, row('write', false, true)],
  [EVENT.mariadbUpdateRowsCompressedV1, row('update', false, true)],
  [EVENT.mariadbDeleteRowsCompressedV1, row('delete', false, true)],
  [EVENT.mariadbWriteRowsCompressed, row('write', true, true)],
  [EVENT.mariadbUpdateRowsCompressed, row('update', true, true)],
  [EVENT.mariadbDeleteRowsCompressed, row('delete', true, true)],
])

/** Between transactions, and within one without a meaning of its own. */
const SILENT: ReadonlySet<number> = new Set([
  EVENT.stop,
  EVENT.rotate,
  EVENT.formatDescription,
  EVENT.heartbeat,
  EVENT.heartbeatV2,
  EVENT.ignorable,
  EVENT.rowsQuery,
  EVENT.previousGtids,
  EVENT.transactionContext,
  EVENT.viewChange,
  EVENT.intvar,
  EVENT.rand,
  EVENT.userVariable,
  EVENT.mariadbAnnotate,
  EVENT.mariadbCheckpoint,
  EVENT.mariadbGtidList,
])

/** Behind these every table has a new number. */
const FORGETS_TABLES: ReadonlySet<number> = new Set([EVENT.formatDescription, EVENT.rotate, EVENT.stop])

/** @param largest bytes of the largest event. @throws TidemarkError PROTOCOL */
export async function* readTransactions(
  events: AsyncIterable<BinlogEvent>,
  largest: number,
): AsyncGenerator<BinlogItem> {
  const reader = new TransactionReader()
  for await (const event of events) {
    if (event.type !== EVENT.transactionPayload) {
      yield* reader.take(event)
      continue
    }
    for await (const inner of payloadEvents(event.body, largest)) yield* reader.take(readEvent(inner, 'none'))
  }
}

const MICROS = 1_000_000n

class TransactionReader {
  readonly #tables = new Map<number, TableMap>()
  #begin: TransactionBegin | undefined
  /** BEGIN or XA START was there: the transaction has an end of its own. */
  #isOpen = false

  /** A format description in the middle of a transaction says that the server died there: the rest never comes. */
  #forget(event: BinlogEvent): void {
    this.#tables.clear()
    const isReal = event.type === EVENT.formatDescription && (event.flags & ARTIFICIAL_FLAG) === 0
    if (!isReal) return
    this.#begin = undefined
    this.#isOpen = false
  }

  *take(event: BinlogEvent): Generator<BinlogItem> {
    const { type, body } = event
    if (FORGETS_TABLES.has(type)) this.#forget(event)
    const rows = ROWS.get(type)
    if (rows !== undefined) yield this.#rows(body, rows)
    else if (type === EVENT.tableMap) {
      const table = readTableMap(body)
      this.#tables.set(table.id, table)
    } else if (type === EVENT.mariadbGtid) yield this.#begins(readMariadbGtid(body, event.serverId))
    else if (type === EVENT.gtid) yield this.#begins(readMysqlGtid(body))
    else if (type === EVENT.query || type === EVENT.mariadbQueryCompressed) yield* this.#query(event)
    else if (type === EVENT.xid) yield this.#ends({ kind: 'committed' }, event)
    else if (type === EVENT.xaPrepare) yield this.#prepares(event)
    else if (type === EVENT.partialUpdateRows) yield this.#partialJson(body)
    else if (type === EVENT.beginLoadQuery || type === EVENT.executeLoadQuery)
      yield { kind: 'untold', why: 'statement', table: undefined }
    else if (type === EVENT.incident) yield { kind: 'untold', why: 'incident', table: undefined }
    else if (SILENT.has(type) || (event.flags & IGNORABLE_FLAG) !== 0) yield { kind: 'quiet' }
    else
      throw new TidemarkError('PROTOCOL', `the binlog has an event of type ${type}, which is not known here`)
  }

  #begins(begin: TransactionBegin): BinlogItem {
    this.#begin = begin
    // MariaDB has no BEGIN in the log.
    this.#isOpen = begin.gtid.flavour === 'mariadb' && !begin.standsAlone
    return { kind: 'begin', begin }
  }

  #ends(outcome: Outcome, { timestamp }: BinlogEvent): BinlogItem {
    const committedAt = this.#begin?.committedAt ?? BigInt(timestamp) * MICROS
    if (this.#begin === undefined)
      throw new TidemarkError('PROTOCOL', 'the binlog ends a transaction that did not begin', {
        next: 'SET GLOBAL gtid_mode: every transaction needs its GTID',
      })
    this.#begin = undefined
    this.#isOpen = false
    return { kind: 'end', outcome, committedAt }
  }

  #prepares(event: BinlogEvent): BinlogItem {
    const { onePhase, xid } = readXaPrepare(event.body)
    return this.#ends(onePhase ? { kind: 'committed' } : { kind: 'prepared', xid }, event)
  }

  #rows(body: Buffer, { kind, hasExtra, isPacked }: Row): BinlogItem {
    let event = readRowsEvent(body, kind, hasExtra)
    const table = requireColumns(event, this.#tables.get(event.tableId))
    const images = [event.before, event.after].filter((image) => image !== undefined)
    if (images.some((image) => !isFull(image, event.count)))
      return { kind: 'untold', why: 'partial row image', table }
    if (isPacked) event = { ...event, rows: new ByteCursor(unpacked(event.rows.rest())) }
    return { kind: 'rows', table, rows: event }
  }

  #partialJson(body: Buffer): BinlogItem {
    const event = readRowsEvent(body, 'update', true)
    return {
      kind: 'untold',
      why: 'partial JSON',
      table: requireColumns(event, this.#tables.get(event.tableId)),
    }
  }

  *#query(event: BinlogEvent): Generator<BinlogItem> {
    const query = readQuery(event.body, event.type === EVENT.mariadbQueryCompressed)
    const words = openingWords(query.sql)
    const isXa = /^XA (START|BEGIN)\b/.test(words)
    if (isXa || /^(BEGIN|START TRANSACTION)\b/.test(words)) {
      this.#isOpen = true
      if (isXa) yield { kind: 'xa start' }
      return
    }
    if (/^COMMIT\b/.test(words)) yield this.#ends({ kind: 'committed' }, event)
    else if (/^ROLLBACK$/.test(words)) yield this.#ends({ kind: 'rolled back' }, event)
    else if (/^XA (COMMIT|ROLLBACK)\b/.test(words))
      yield this.#ends(
        {
          kind: 'decided',
          xid: xidOf(words) ?? this.#begin?.xa?.xid,
          commits: words.startsWith('XA COMMIT'),
        },
        event,
      )
    else if (/^(XA END|SAVEPOINT|RELEASE SAVEPOINT)\b/.test(words)) yield { kind: 'quiet' }
    else if (/^ROLLBACK TO\b/.test(words))
      yield { kind: 'untold', why: 'rolled back in part', table: undefined }
    else yield* this.#statement(query, words, event)
  }

  *#statement(query: QueryEvent, words: string, event: BinlogEvent): Generator<BinlogItem> {
    // Rows as text: which rows it means depends on what the server has.
    if (/^(INSERT|UPDATE|DELETE|REPLACE|LOAD|CALL|WITH|DO|SELECT)\b/.test(words))
      yield { kind: 'untold', why: 'statement', table: undefined }
    else yield { kind: 'statement', query, words }
    if (!this.#isOpen) yield this.#ends({ kind: 'committed' }, event)
  }
}

/** `X'6162',X'',1` as the servers write it. */
function xidOf(words: string): string | undefined {
  const [, global, branch, format] =
    /^XA (?:COMMIT|ROLLBACK) X'([0-9A-F]*)',\s*X'([0-9A-F]*)',\s*(\d+)/.exec(words) ?? []
  if (global === undefined || branch === undefined || format === undefined) return undefined
  return `${global.toLowerCase()}:${branch.toLowerCase()}:${format}`
}
