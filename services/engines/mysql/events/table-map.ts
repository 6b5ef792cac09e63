/**
 * TABLE_MAP events: how the rows behind them are laid out. Names, signs, character sets and the labels of ENUM and SET are
 * there with `binlog_row_metadata = FULL` alone; the layout is taken from here and never from today's schema (hazard 59).
 */
import { TidemarkError } from '../../../core/errors.ts'
import { ByteCursor } from './byte-cursor.ts'

/** Types as the protocol numbers them (MySQL, include/field_types.h; MariaDB, include/mysql_com.h). */
export const TYPE = {
  tiny: 1,
  short: 2,
  long: 3,
  float: 4,
  double: 5,
  null: 6,
  timestamp: 7,
  longlong: 8,
  int24: 9,
  date: 10,
  time: 11,
  datetime: 12,
  year: 13,
  newdate: 14,
  varchar: 15,
  bit: 16,
  timestamp2: 17,
  datetime2: 18,
  time2: 19,
  mariadbBlobCompressed: 140,
  mariadbVarcharCompressed: 141,
  vector: 242,
  json: 245,
  newdecimal: 246,
  enum: 247,
  set: 248,
  tinyBlob: 249,
  mediumBlob: 250,
  longBlob: 251,
  blob: 252,
  varString: 253,
  string: 254,
  geometry: 255,
} as const

export interface BinlogColumn {
  /** The real type: ENUM and SET come as STRING. */
  readonly type: number
  /** The two bytes of metadata, or the one; by type a length, digits, decimals. */
  readonly meta: number
  /** Digits behind the point of a NEWDECIMAL. */
  readonly scale: number
  readonly nullable: boolean
  readonly unsigned: boolean
  /** Undefined without full metadata. */
  readonly name: string | undefined
  /** Number of the collation: 63 is binary. Undefined where the type has none or the metadata is not full. */
  readonly collation: number | undefined
  /** Of ENUM and SET, as bytes in the column's character set. */
  readonly labels: readonly Buffer[] | undefined
}

export interface TableMap {
  readonly id: number
  readonly schema: string
  readonly table: string
  readonly columns: readonly BinlogColumn[]
  /** Places of the primary key's columns; undefined where there is none or the metadata does not say. */
  readonly primaryKey: readonly number[] | undefined
}

interface Raw {
  readonly type: number
  readonly meta: number
  readonly scale: number
}

/** @param body of the event. @throws TidemarkError PROTOCOL */
export function readTableMap(body: Buffer): TableMap {
  const cursor = new ByteCursor(body)
  const id = cursor.uint(6)
  cursor.take(2)
  const schema = cursor.text(cursor.lengthEncoded())
  cursor.take(1)
  const table = cursor.text(cursor.lengthEncoded())
  cursor.take(1)
  const count = cursor.lengthEncoded()
  const types = cursor.slice(count)
  const metadata = new ByteCursor(cursor.slice(cursor.lengthEncoded()))
  const raw = Array.from(types, (type) => rawColumn(type, metadata))
  const nulls = cursor.slice((count + 7) >> 3)
  const full = readFullMetadata(cursor, raw)
  return {
    id,
    schema,
    table,
    primaryKey: full.primaryKey,
    columns: raw.map((column, i) => ({
      ...column,
      nullable: ((nulls[i >> 3]! >> (i & 7)) & 1) === 1,
      unsigned: full.unsigned.has(i),
      name: full.names?.[i],
      collation: full.collations.get(i),
      labels: full.labels.get(i),
    })),
  }
}

function rawColumn(type: number, metadata: ByteCursor): Raw {
  switch (type) {
    case TYPE.float:
    case TYPE.double:
    case TYPE.timestamp2:
    case TYPE.datetime2:
    case TYPE.time2:
    case TYPE.tinyBlob:
    case TYPE.mediumBlob:
    case TYPE.longBlob:
    case TYPE.blob:
    case TYPE.mariadbBlobCompressed:
    case TYPE.json:
    case TYPE.geometry:
    case TYPE.vector:
      return { type, meta: metadata.uint8(), scale: 0 }
    case TYPE.varchar:
    case TYPE.mariadbVarcharCompressed:
      return { type, meta: metadata.uint(2), scale: 0 }
    case TYPE.bit: {
      const bits = metadata.uint8()
      return { type, meta: metadata.uint8() * 8 + bits, scale: 0 }
    }
    case TYPE.newdecimal:
      return { type, meta: metadata.uint8(), scale: metadata.uint8() }
    case TYPE.enum:
    case TYPE.set:
    case TYPE.varString:
    case TYPE.string:
      return stringColumn(metadata.uint8(), metadata.uint8())
    case TYPE.tiny:
    case TYPE.short:
    case TYPE.long:
    case TYPE.longlong:
    case TYPE.int24:
    case TYPE.null:
    case TYPE.timestamp:
    case TYPE.date:
    case TYPE.time:
    case TYPE.datetime:
    case TYPE.year:
    case TYPE.newdate:
      return { type, meta: 0, scale: 0 }
    default:
      // Without its metadata's length nothing behind it can be read.
      throw new TidemarkError('PROTOCOL', `the binlog has a column of type ${type}, which is not known here`)
  }
}

/** The real type, and in two bits of it what a length above 255 needs (MySQL, Field_string::do_save_field_metadata). */
function stringColumn(type: number, length: number): Raw {
  if ((type & 0x30) === 0x30) return { type, meta: length, scale: 0 }
  return { type: type | 0x30, meta: length | (((type & 0x30) ^ 0x30) << 4), scale: 0 }
}

/** Fields behind the null bitmap (MySQL, Table_map_log_event::Optional_metadata_field_type; MariaDB has those up to 12). */
const FIELD = {
  signedness: 1,
  defaultCharset: 2,
  columnCharset: 3,
  columnName: 4,
  setLabels: 5,
  enumLabels: 6,
  simpleKey: 8,
  keyWithPrefix: 9,
  labelsDefaultCharset: 10,
  labelsColumnCharset: 11,
} as const

interface FullMetadata {
  readonly unsigned: ReadonlySet<number>
  readonly names: readonly string[] | undefined
  readonly collations: ReadonlyMap<number, number>
  readonly labels: ReadonlyMap<number, readonly Buffer[]>
  readonly primaryKey: readonly number[] | undefined
}

const NUMERIC: ReadonlySet<number> = new Set([
  TYPE.tiny,
  TYPE.short,
  TYPE.int24,
  TYPE.long,
  TYPE.longlong,
  TYPE.newdecimal,
  TYPE.float,
  TYPE.double,
  TYPE.year,
])
const CHARACTER: ReadonlySet<number> = new Set([
  TYPE.string,
  TYPE.varString,
  TYPE.varchar,
  TYPE.tinyBlob,
  TYPE.mediumBlob,
  TYPE.longBlob,
  TYPE.blob,
  TYPE.mariadbBlobCompressed,
  TYPE.mariadbVarcharCompressed,
])

function readFullMetadata(cursor: ByteCursor, columns: readonly Raw[]): FullMetadata {
  const places = (wanted: (type: number) => boolean): number[] =>
    columns.flatMap(({ type }, i) => (wanted(type) ? [i] : []))
  const unsigned = new Set<number>()
  const collations = new Map<number, number>()
  const labels = new Map<number, readonly Buffer[]>()
  let names: string[] | undefined
  let primaryKey: number[] | undefined
  while (cursor.left > 0) {
    const kind = cursor.uint8()
    const field = new ByteCursor(cursor.slice(cursor.lengthEncoded()))
    switch (kind) {
      case FIELD.signedness: {
        const bits = field.rest()
        // The bits stand in the order of reading: the first column's is the highest.
        for (const [n, place] of places((type) => NUMERIC.has(type)).entries())
          if ((((bits[n >> 3] ?? 0) << (n & 7)) & 0x80) !== 0) unsigned.add(place)
        break
      }
      case FIELD.defaultCharset:
        readDefault(
          field,
          places((type) => CHARACTER.has(type)),
          collations,
        )
        break
      case FIELD.columnCharset:
        for (const place of places((type) => CHARACTER.has(type)))
          collations.set(place, field.lengthEncoded())
        break
      case FIELD.labelsDefaultCharset:
        readDefault(
          field,
          places((type) => type === TYPE.enum || type === TYPE.set),
          collations,
        )
        break
      case FIELD.labelsColumnCharset:
        for (const place of places((type) => type === TYPE.enum || type === TYPE.set))
          collations.set(place, field.lengthEncoded())
        break
      case FIELD.columnName:
        names = []
        while (field.left > 0) names.push(field.text(field.lengthEncoded()))
        break
      case FIELD.setLabels:
      case FIELD.enumLabels:
        for (const place of places((type) => type === (kind === FIELD.setLabels ? TYPE.set : TYPE.enum)))
          labels.set(
            place,
            Array.from({ length: field.lengthEncoded() }, () => field.slice(field.lengthEncoded())),
          )
        break
      case FIELD.simpleKey:
        primaryKey = []
        while (field.left > 0) primaryKey.push(field.lengthEncoded())
        break
      case FIELD.keyWithPrefix:
        primaryKey = []
        while (field.left > 0) {
          primaryKey.push(field.lengthEncoded())
          field.lengthEncoded()
        }
        break
      default:
        // Geometry types, visibility, and what later versions add: rows can be read without them.
        break
    }
  }
  return { unsigned, names, collations, labels, primaryKey }
}

/** One collation for all, but for those that are named by their number among the character columns. */
function readDefault(field: ByteCursor, places: readonly number[], collations: Map<number, number>): void {
  const usual = field.lengthEncoded()
  for (const place of places) collations.set(place, usual)
  while (field.left > 0) {
    const place = places[field.lengthEncoded()]
    const collation = field.lengthEncoded()
    if (place !== undefined) collations.set(place, collation)
  }
}
