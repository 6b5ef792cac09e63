/** What a source must have, and what people should know of it, with the fix. */
import type mysql from 'mysql2/promise'
import type { Finding } from '../../../core/finding.ts'
import { isOurs, readCascades } from '../catalog/foreign-keys.ts'
import { readTables } from '../catalog/read-tables.ts'
import type { OpenSession } from '../session/connect.ts'

type Variables = ReadonlyMap<string, string>

const refuse = (code: string, what: string, fix: string): Finding => ({ level: 'refuse', code, what, fix })
const warn = (code: string, what: string, fix: string): Finding => ({ level: 'warn', code, what, fix })

const WANTED: readonly {
  readonly name: string
  readonly is: RegExp
  readonly only?: 'mysql' | 'mariadb'
  readonly level: 'refuse' | 'warn'
  readonly why: string
  readonly fix: string
}[] = [
  {
    name: 'log_bin',
    is: /^(ON|1)$/,
    level: 'refuse',
    why: 'there is no log to read',
    fix: 'log_bin in my.cnf, then a restart',
  },
  {
    name: 'binlog_format',
    is: /^ROW$/,
    level: 'refuse',
    why: 'changes come as statements, and which rows they change nobody knows',
    fix: "SET GLOBAL binlog_format = 'ROW', and in my.cnf",
  },
  {
    name: 'binlog_row_image',
    is: /^FULL$/,
    level: 'refuse',
    why: 'rows come in parts',
    fix: "SET GLOBAL binlog_row_image = 'FULL', and in my.cnf",
  },
  {
    name: 'binlog_row_metadata',
    is: /^FULL$/,
    level: 'refuse',
    why: 'rows come without the names and character sets of their columns',
    fix: "SET GLOBAL binlog_row_metadata = 'FULL', and in my.cnf",
  },
  {
    name: 'gtid_mode',
    is: /^ON$/,
    only: 'mysql',
    level: 'refuse',
    why: 'transactions have no names, and a stream cannot go on behind one',
    fix: 'gtid_mode = ON and enforce_gtid_consistency = ON in my.cnf',
  },
  {
    name: 'gtid_strict_mode',
    is: /^(ON|1)$/,
    only: 'mariadb',
    level: 'refuse',
    why: 'transactions may come out of the order of their numbers',
    fix: 'SET GLOBAL gtid_strict_mode = ON, and in my.cnf',
  },
  {
    name: 'log_slave_updates',
    is: /^(ON|1)$/,
    level: 'warn',
    why: 'what this server takes over as a replica is not in its own log',
    fix: 'log_slave_updates = ON in my.cnf, or the primary as the source',
  },
  {
    name: 'binlog_row_value_options',
    is: /^$/,
    only: 'mysql',
    level: 'warn',
    why: 'a JSON value that is changed in parts has its whole table read again',
    fix: "SET GLOBAL binlog_row_value_options = ''",
  },
]

export async function examine(session: OpenSession, database: string): Promise<readonly Finding[]> {
  const { connection, server } = session
  const variables = await readVariables(connection)
  const findings: Finding[] = []
  for (const { name, is, only, level, why, fix } of WANTED) {
    const value = variables.get(name)
    if ((only !== undefined && only !== server.flavour) || value === undefined || is.test(value)) continue
    findings.push({
      level,
      code: name.toUpperCase(),
      what: `${name} is ${value === '' ? 'empty' : value}: ${why}`,
      fix,
    })
  }
  findings.push(...retention(variables), ...filters(variables))
  findings.push(...(await privileges(connection)))
  findings.push(...(await tableFindings(session, database)))
  return findings
}

async function readVariables(connection: mysql.Connection): Promise<Variables> {
  const [rows] = await connection.query<mysql.RowDataPacket[]>('SHOW GLOBAL VARIABLES')
  return new Map(rows.map((row) => [String(row['Variable_name']).toLowerCase(), String(row['Value'])]))
}

const DAY_SECONDS = 86_400

function retention(variables: Variables): Finding[] {
  const seconds = Number(variables.get('binlog_expire_logs_seconds') ?? 0)
  const days = Number(variables.get('expire_logs_days') ?? 0)
  const kept = seconds > 0 ? seconds : days * DAY_SECONDS
  if (kept === 0 || kept >= 2 * DAY_SECONDS) return []
  return [
    warn(
      'LOG_RETENTION',
      `the log is kept for ${(kept / 3600).toFixed(1)} hours: a longer outage of Tidemark, or of its store, ends in a gap and a new base`,
      'SET GLOBAL binlog_expire_logs_seconds = 604800, and in my.cnf',
    ),
  ]
}

/** What a filter keeps out of the log nobody sees; SHOW MASTER STATUS tells them on newer servers too. */
function filters(variables: Variables): Finding[] {
  return ['binlog_do_db', 'binlog_ignore_db'].flatMap((name) => {
    const value = variables.get(name)
    return value === undefined || value === ''
      ? []
      : [
          refuse(
            'LOG_FILTER',
            `${name} is ${value}: changes are left out of the log`,
            `${name} out of my.cnf`,
          ),
        ]
  })
}

async function privileges(connection: mysql.Connection): Promise<Finding[]> {
  const [rows] = await connection.query<mysql.RowDataPacket[]>('SHOW GRANTS')
  const all = rows.map((row) => Object.values(row).join(' ')).join('\n')
  const findings: Finding[] = []
  if (!/GRANT .*\b(ALL PRIVILEGES|PROCESS)\b.* ON \*\.\*/.test(all))
    findings.push(
      warn(
        'PROCESS',
        'this user may not see what others run: up to when nothing is missing is not known while the source is idle',
        'GRANT PROCESS ON *.* TO the user',
      ),
    )
  if (/GRANT ALL PRIVILEGES ON \*\.\*|REPLICATION SLAVE|REPLICATION REPLICA/.test(all)) return findings
  return [
    ...findings,
    refuse(
      'REPLICATION',
      'this user may not read the log',
      'GRANT REPLICATION SLAVE, REPLICATION CLIENT, PROCESS ON *.* TO the user; and SELECT, LOCK TABLES, SHOW VIEW, TRIGGER, EVENT on the database',
    ),
  ]
}

async function tableFindings({ connection }: OpenSession, database: string): Promise<Finding[]> {
  const { uncovered } = await readTables(connection, database)
  const left = uncovered.map(({ name, reason }) =>
    warn(
      'TABLE_LEFT_OUT',
      `${database}.${name} is not backed up: ${reason}`,
      `ALTER TABLE ${name} ENGINE = InnoDB`,
    ),
  )
  const cascades = (await readCascades(connection, database)).filter(({ child }) => isOurs(child))
  const children = [...new Set(cascades.map(({ child }) => child))]
  if (children.length > 0)
    left.push(
      warn(
        'CASCADES',
        `foreign keys change rows of ${children.join(', ')} without a word in the log: each time a parent's row goes or takes another key, these tables have a gap, and are read again`,
        'where that is too often: the foreign key without ON DELETE and ON UPDATE actions, and the application deletes the rows',
      ),
    )
  return left
}
