/**
 * `doctor --scratch`: makes the source's schema in an empty database that is not a restore's, and compares what was made
 * with what was read, so that what does not come back as it is is known before the night. Its code runs by the rules of a
 * restore; `up` never does this. It needs neither configuration nor store nor keys.
 */
import type pg from 'pg'
import { APPLICATION_NAME } from '../../engines/postgres/session/names.ts'
import { PostgresTarget } from '../../engines/postgres/target/postgres-target.ts'
import { readWholeSchema } from '../../engines/postgres/catalog/schema-reader.ts'
import { ScratchReading } from '../../engines/postgres/target/scratch-reading.ts'
import { connect, connectionError } from '../../engines/postgres/session/session.ts'
import { backupDialect } from '../wiring/dialect.ts'
import { asTidemarkError, TidemarkError } from '../../core/errors.ts'
import type { Finding } from '../../core/finding.ts'
import type { SchemaStatement } from '../../core/transaction.ts'
import { type SchemaDifference, schemaDifferences } from '../../rebuild/compare-schema.ts'
import { trySchema } from '../../rebuild/try-schema.ts'
import type { Unmade } from '../../rebuild/unmade.ts'

const RESTORE_ID = 'doctor --scratch'

export interface ScratchReport {
  readonly findings: readonly Finding[]
  /** What could not be tried there. */
  readonly notes: readonly string[]
}

/** What a scratch server has to fit. */
export interface ScratchSource {
  readonly systemId: string
  readonly databaseOid: number
  readonly encoding: string
  readonly serverVersion: number
}

/** A source by its URL alone, and what its reader does not cover. */
export async function examineSchemaOf(
  sourceUrl: string,
  url: string,
  signal: AbortSignal,
): Promise<ScratchReport> {
  const client = await connect({ url: sourceUrl, applicationName: APPLICATION_NAME, role: 'source' })
  try {
    const installed = await client.query<{ is: boolean }>(
      `SELECT to_regnamespace('tidemark') IS NOT NULL AS is`,
    )
    if (installed.rows[0]?.is !== true)
      throw new TidemarkError('SOURCE_UNSUITABLE', 'nothing of Tidemark is in this database', {
        next: 'tidemark init --source URL --store URL',
      })
    const { statements, notes } = await readWholeSchema(client)
    const tried = await examineSchema(client, statements, url, signal)
    return { findings: tried.findings, notes: [...notes, ...tried.notes] }
  } catch (error) {
    throw connectionError(error, 'source')
  } finally {
    await client.end()
  }
}

export async function scratchSourceOf(sourceUrl: string): Promise<ScratchSource> {
  const client = await connect({ url: sourceUrl, applicationName: APPLICATION_NAME, role: 'source' })
  try {
    return await identify(client)
  } finally {
    await client.end()
  }
}

/** @param url an empty database of another server, which is left filled */
export async function examineSchema(
  source: pg.Client,
  statements: readonly SchemaStatement[],
  url: string,
  signal: AbortSignal,
): Promise<ScratchReport> {
  let target: PostgresTarget | undefined
  let reading: ScratchReading | undefined
  try {
    const identity = await identify(source)
    target = new PostgresTarget({ url, source: identity })
    await target.check(RESTORE_ID)
    reading = await ScratchReading.open(url)
    const unmade = await trySchema(target, backupDialect.schemas, statements, RESTORE_ID, signal)
    const made = await reading.read()
    const isSameMajor =
      Math.trunc(reading.serverVersion / 10_000) === Math.trunc(identity.serverVersion / 10_000)
    const refused = new Set(unmade.map(({ object }) => object))
    const differences = schemaDifferences(
      statements,
      made.statements,
      isSameMajor ? 'statements' : 'names',
    ).filter(({ object }) => !refused.has(object))
    const untried = unmade.filter(untriedAmong(unmade))
    return {
      findings: [
        ...unmade.filter((one) => !untried.includes(one)).map(unmadeFinding),
        ...differences.map(differenceFinding),
      ],
      notes: [
        ...untried.map((one) => `${one.object} was not tried at the scratch database: ${one.reason}`),
        ...(isSameMajor
          ? []
          : [
              'the scratch server is of another major version: what was made there was compared by the names of its objects alone',
            ]),
      ],
    }
  } catch (error) {
    signal.throwIfAborted()
    const known = asTidemarkError(error)
    return {
      findings: [
        {
          level: 'warn',
          code: known.code,
          what: `the schema could not be tried: ${known.message}`,
          fix: known.next,
        },
      ],
      notes: [],
    }
  } finally {
    await target?.close()
    await reading?.close()
  }
}

/** What ends `doctor --scratch`: its exit code is what a scheduler sees. */
export function scratchEnd(findings: readonly Finding[]): TidemarkError | undefined {
  const [first, ...others] = findings
  if (first === undefined) return undefined
  const what = others.length === 0 ? first.what : `${first.what}; and ${others.length} more findings`
  if (first.code === 'SCHEMA_UNMADE' || first.code === 'SCHEMA_DIFFERS')
    return new TidemarkError(first.code, what)
  return new TidemarkError('SCHEMA_UNTRIED', what, { next: first.fix })
}

async function identify(client: pg.Client): Promise<ScratchSource> {
  const { rows } = await client.query<ScratchSource>(
    `SELECT (SELECT system_identifier::text FROM pg_control_system()) AS "systemId", d.oid::int8::float8 AS "databaseOid", pg_encoding_to_char(d.encoding) AS encoding, current_setting('server_version_num')::int AS "serverVersion"
       FROM pg_database d WHERE d.datname = current_database()`,
  )
  if (rows[0] === undefined) throw new TidemarkError('PROTOCOL', 'the server does not know its own database')
  return rows[0]
}

/** Extensions, collations and libraries are what a server brings: one that lacks them says nothing of a restore elsewhere. */
function isLacking(one: Unmade): boolean {
  return /^(extension|collation) /.test(one.object) || one.state === '58P01'
}

/** What may be refused for want of them: what names something that is not there, and grants that wait for it. */
function untriedAmong(unmade: readonly Unmade[]): (one: Unmade) => boolean {
  if (!unmade.some(isLacking)) return () => false
  return (one) => isLacking(one) || one.state === undefined || /^(42|3F)/.test(one.state)
}

function unmadeFinding(one: Unmade): Finding {
  return {
    level: 'warn',
    code: 'SCHEMA_UNMADE',
    what: `a restore could not make ${one.object}: ${one.reason}`,
    fix: 'mend it at the source; until then a restore brings all rows back and lists it in a file',
  }
}

function differenceFinding({ object, is }: SchemaDifference): Finding {
  const what = {
    missing: `a restore would lack ${object}, and say nothing of it`,
    another: `a restore would make ${object} otherwise than the source has it`,
    added: `a restore would make ${object}, which the source does not have`,
  }[is]
  return {
    level: 'warn',
    code: 'SCHEMA_DIFFERS',
    what,
    fix: `compare: pg_dump --schema-only of the source and of the scratch database; and report it: Tidemark should make it as it is`,
  }
}
