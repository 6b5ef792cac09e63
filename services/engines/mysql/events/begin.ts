/** What stands in front of each transaction: its GTID, when it was committed, and in MariaDB what it is. */
import { ByteCursor } from './byte-cursor.ts'
import type { Gtid } from './gtid.ts'

export interface TransactionBegin {
  readonly gtid: Gtid
  /** Microseconds since 1970, of the commit on the server that is read; undefined where the log has whole seconds alone. */
  readonly committedAt: bigint | undefined
  /** One statement and no COMMIT. MySQL does not say it here. */
  readonly standsAlone: boolean
  /** Of an XA transaction that is prepared here, or decided. */
  readonly xa: { readonly step: 'prepare' | 'decide'; readonly xid: string } | undefined
}

const MARIADB_FLAG = { standalone: 1, groupCommit: 2, preparedXa: 64, completedXa: 128 } as const

/** MariaDB, GTID_EVENT. */
export function readMariadbGtid(body: Buffer, server: number): TransactionBegin {
  const cursor = new ByteCursor(body)
  const sequence = cursor.uint64()
  const domain = cursor.uint(4)
  const flags = cursor.uint8()
  if ((flags & MARIADB_FLAG.groupCommit) !== 0) cursor.take(8)
  const isXa = (flags & (MARIADB_FLAG.preparedXa | MARIADB_FLAG.completedXa)) !== 0
  return {
    gtid: { flavour: 'mariadb', domain, server, sequence },
    committedAt: undefined,
    standsAlone: (flags & MARIADB_FLAG.standalone) !== 0,
    xa: isXa
      ? { step: (flags & MARIADB_FLAG.preparedXa) !== 0 ? 'prepare' : 'decide', xid: readXid(cursor) }
      : undefined,
  }
}

function readXid(cursor: ByteCursor): string {
  const format = cursor.uint(4)
  const [global, branch] = [cursor.uint8(), cursor.uint8()]
  return xidText(format, cursor.slice(global), cursor.slice(branch))
}

/** One text for the id of an XA transaction, whoever writes it: two hexadecimal parts and a number. */
function xidText(format: number, global: Buffer, branch: Buffer): string {
  return `${global.toString('hex')}:${branch.toString('hex')}:${format}`
}

/** XA_PREPARE_LOG_EVENT of both servers: whether it is committed in one phase, and the id. */
export function readXaPrepare(body: Buffer): { readonly onePhase: boolean; readonly xid: string } {
  const cursor = new ByteCursor(body)
  const onePhase = cursor.uint8() !== 0
  const format = cursor.uint(4)
  const [global, branch] = [cursor.uint(4), cursor.uint(4)]
  return { onePhase, xid: xidText(format, cursor.slice(global), cursor.slice(branch)) }
}

/** MySQL, GTID_LOG_EVENT: SID, number, logical clock, and since 8.0 the time of the commit. */
export function readMysqlGtid(body: Buffer): TransactionBegin {
  const cursor = new ByteCursor(body)
  cursor.take(1)
  const sid = cursor.slice(16).toString('hex')
  const number = cursor.uint64()
  let committedAt: bigint | undefined
  // Two numbers of the logical clock behind the byte that says so.
  if (cursor.left > 0 && cursor.uint8() === 2) {
    cursor.take(16)
    if (cursor.left >= 7) committedAt = readCommitTime(cursor)
  }
  return {
    gtid: {
      flavour: 'mysql',
      source: sid.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5'),
      number,
    },
    committedAt,
    standsAlone: false,
    xa: undefined,
  }
}

/** 55 bits of microseconds; the highest bit of the seven bytes says that the first server's own time follows. */
function readCommitTime(cursor: ByteCursor): bigint {
  return (BigInt(cursor.uint(4)) | (BigInt(cursor.uint(3)) << 32n)) & ((1n << 55n) - 1n)
}
