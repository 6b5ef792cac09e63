/**
 * How a column's values are stored, as a row's layout in the log and the catalog both tell it: a change and a copy of one table
 * have the same columns. What the log cannot tell apart (UUID and BINARY(16), MariaDB's JSON and LONGTEXT) is one type here; what
 * the table is made with stands in its own text.
 */
import type { ColumnType } from '../../../core/relation.ts'
import { type BinlogColumn, TYPE } from '../events/table-map.ts'

/** Their text is UTF-8 by itself; all others are kept as bytes of their own. */
const UTF8: ReadonlySet<string> = new Set(['utf8mb4', 'utf8mb3', 'utf8', 'ascii'])

const BINARY = 'binary'

const plain = (kind: ColumnType['kind'], native: string, modifier = ''): ColumnType => ({
  kind,
  native,
  modifier,
})

/** @param charset `binary` for bytes */
function characters(native: string, charset: string): ColumnType {
  return plain(
    UTF8.has(charset) ? 'text' : 'bytes',
    charset === BINARY ? `bytes of ${native}` : native,
    charset,
  )
}

/** A column of information_schema. */
export interface CatalogType {
  /** DATA_TYPE */
  readonly data: string
  /** COLUMN_TYPE */
  readonly whole: string
  /** CHARACTER_SET_NAME; null for what has none. */
  readonly charset: string | null
}

const INTEGERS: Readonly<Record<string, ColumnType['kind']>> = {
  tinyint: 'int',
  smallint: 'int',
  mediumint: 'int',
  int: 'int',
  bigint: 'long',
}
/** Each of them as the log has it. */
const FAMILIES: Readonly<Record<string, string>> = {
  char: 'char',
  varchar: 'varchar',
  tinytext: 'text',
  text: 'text',
  mediumtext: 'text',
  longtext: 'text',
  binary: 'char',
  uuid: 'char',
  inet6: 'char',
  inet4: 'char',
  varbinary: 'varchar',
  tinyblob: 'text',
  blob: 'text',
  mediumblob: 'text',
  longblob: 'text',
  enum: 'enum',
  set: 'set',
}
const GEOMETRIES: ReadonlySet<string> = new Set([
  'geometry',
  'point',
  'linestring',
  'polygon',
  'multipoint',
  'multilinestring',
  'multipolygon',
  'geometrycollection',
  'geomcollection',
])

/** @returns undefined where the type is not known here */
export function catalogType({ data, whole, charset }: CatalogType): ColumnType | undefined {
  const integer = INTEGERS[data]
  if (integer !== undefined) return integerType(data, integer, whole.includes('unsigned'))
  const family = FAMILIES[data]
  if (family !== undefined) return characters(family, charset ?? BINARY)
  if (GEOMETRIES.has(data)) return plain('bytes', 'geometry')
  const within = /\(([\d,]+)\)/.exec(whole)?.[1] ?? ''
  return simpleType(data, within)
}

function simpleType(name: string, modifier: string): ColumnType | undefined {
  switch (name) {
    case 'float':
    case 'double':
      return plain(name, name)
    case 'decimal':
      return plain('text', name, modifier)
    case 'date':
      return plain('date', name)
    case 'datetime':
      return plain('timestamp', name, modifier === '' ? '0' : modifier)
    case 'timestamp':
      return plain('timestamptz', name, modifier === '' ? '0' : modifier)
    case 'time':
      return plain('text', name, modifier === '' ? '0' : modifier)
    case 'year':
      return plain('int', name)
    case 'bit':
      return plain('bytes', name, modifier === '' ? '1' : modifier)
    case 'json':
      return plain('text', name)
    case 'vector':
      return plain('bytes', name)
    default:
      return undefined
  }
}

function integerType(native: string, kind: ColumnType['kind'], unsigned: boolean): ColumnType {
  // Above what Avro's types hold: 32 bits without a sign are a long, 64 are text.
  const wide = native === 'int' ? 'long' : native === 'bigint' ? 'text' : kind
  return plain(unsigned ? wide : kind, native, unsigned ? 'unsigned' : '')
}

const BINLOG_INTEGERS: Readonly<Record<number, string>> = {
  [TYPE.tiny]: 'tinyint',
  [TYPE.short]: 'smallint',
  [TYPE.int24]: 'mediumint',
  [TYPE.long]: 'int',
  [TYPE.longlong]: 'bigint',
}
const BINLOG_FAMILIES: Readonly<Record<number, string>> = {
  [TYPE.string]: 'char',
  [TYPE.varString]: 'varchar',
  [TYPE.varchar]: 'varchar',
  [TYPE.mariadbVarcharCompressed]: 'varchar',
  [TYPE.tinyBlob]: 'text',
  [TYPE.mediumBlob]: 'text',
  [TYPE.longBlob]: 'text',
  [TYPE.blob]: 'text',
  [TYPE.mariadbBlobCompressed]: 'text',
  [TYPE.enum]: 'enum',
  [TYPE.set]: 'set',
}

/**
 * @param charsets by the numbers of collations
 * @returns undefined where the type or its character set is not known
 */
export function binlogType(
  column: BinlogColumn,
  charsets: ReadonlyMap<number, string>,
): ColumnType | undefined {
  const { type, meta, scale, unsigned, collation } = column
  const integer = BINLOG_INTEGERS[type]
  if (integer !== undefined) return integerType(integer, INTEGERS[integer]!, unsigned)
  const family = BINLOG_FAMILIES[type]
  if (family !== undefined) {
    const charset = collation === undefined ? undefined : charsets.get(collation)
    return charset === undefined ? undefined : characters(family, charset)
  }
  switch (type) {
    case TYPE.float:
      return simpleType('float', '')
    case TYPE.double:
      return simpleType('double', '')
    case TYPE.newdecimal:
      return simpleType('decimal', `${meta},${scale}`)
    case TYPE.date:
    case TYPE.newdate:
      return simpleType('date', '')
    case TYPE.datetime2:
      return simpleType('datetime', String(meta))
    case TYPE.timestamp2:
      return simpleType('timestamp', String(meta))
    case TYPE.time2:
      return simpleType('time', String(meta))
    case TYPE.datetime:
      return simpleType('datetime', '0')
    case TYPE.timestamp:
      return simpleType('timestamp', '0')
    case TYPE.time:
      return simpleType('time', '0')
    case TYPE.year:
      return simpleType('year', '')
    case TYPE.bit:
      return simpleType('bit', String(meta))
    case TYPE.json:
      return simpleType('json', '')
    case TYPE.geometry:
      return plain('bytes', 'geometry')
    case TYPE.vector:
      return simpleType('vector', '')
    default:
      return undefined
  }
}
