/**
 * `doctor --scratch`: makes the source's schema in an empty database that is not a restore's, and compares what was made
 * with what was read, so that what does not come back as it is is known before the night. Its code runs by the rules of a
 * restore; `up` never does this. It needs neither configuration nor store nor keys.
 */
import type { Target } from '../../core/ports/target.ts'
import { openScratch, openScratchReading } from '../wiring/compose.ts'
import { dialectOf, engineAt } from '../wiring/dialect.ts'
import { openAdmin } from '../wiring/source-admin.ts'
import { asTidemarkError, TidemarkError } from '../../core/errors.ts'
import type { SourceAdmin } from '../../core/ports/source-admin.ts'
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

/** A source by its URL alone, and what its reader does not cover. */
export async function examineSchemaOf(
  sourceUrl: string,
  url: string,
  signal: AbortSignal,
): Promise<ScratchReport> {
  const admin = openAdmin({ url: sourceUrl })
  const schema = await admin.schema()
  if (schema === undefined)
    throw new TidemarkError('SOURCE_UNSUITABLE', 'nothing of Tidemark is in this database', {
      next: 'tidemark init --source URL --store URL',
    })
  const tried = await examineSchema(admin, schema.statements, url, signal)
  return { findings: tried.findings, notes: [...schema.notes, ...tried.notes] }
}

/** @param url an empty database of another server, which is left filled */
export async function examineSchema(
  source: SourceAdmin,
  statements: readonly SchemaStatement[],
  url: string,
  signal: AbortSignal,
): Promise<ScratchReport> {
  let target: Target | undefined
  let reading: Awaited<ReturnType<typeof openScratchReading>> | undefined
  try {
    const server = await source.server()
    target = openScratch(url, server)
    await target.check(RESTORE_ID)
    reading = await openScratchReading(url)
    const unmade = await trySchema(target, dialectOf(engineAt(url)).schemas, statements, RESTORE_ID, signal)
    const made = await reading.read()
    const isSameMajor =
      Math.trunc(reading.serverVersion / 10_000) === Math.trunc(server.serverVersion / 10_000)
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
