/**
 * `doctor --scratch`: makes the source's schema in an empty database that the operator gives, so that what a restore
 * could not make is known before the night. Its code runs by the rules of a restore; `up` never does this.
 */
import { identifySource } from '../adapters/postgres/postgres-source.ts'
import { PostgresTarget } from '../adapters/postgres/postgres-target.ts'
import { asTidemarkError } from '../core/errors.ts'
import type { Finding } from '../core/finding.ts'
import type { SchemaStatement } from '../core/transaction.ts'
import { trySchema } from '../rebuild/try-schema.ts'

const RESTORE_ID = 'doctor --scratch'

export interface ScratchReport {
  readonly findings: readonly Finding[]
  /** What could not be tried there. */
  readonly notes: readonly string[]
}

/** @param url an empty database of another server, which is left filled */
export async function examineSchema(
  sourceUrl: string,
  statements: readonly SchemaStatement[],
  url: string,
  signal: AbortSignal,
): Promise<ScratchReport> {
  let target: PostgresTarget | undefined
  try {
    target = new PostgresTarget({ url, source: await identifySource(sourceUrl) })
    await target.check(RESTORE_ID)
    const unmade = await trySchema(target, statements, RESTORE_ID, signal)
    // What needs an extension that the scratch server lacks fails with it, and says nothing of a restore elsewhere.
    const lacking = unmade.filter((one) => one.object.startsWith('extension '))
    if (lacking.length > 0)
      return {
        findings: [],
        notes: unmade.map((one) => `${one.object} was not tried at the scratch database: ${one.reason}`),
      }
    return { findings: unmade.map(asFinding), notes: [] }
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
  }
}

function asFinding(one: { readonly object: string; readonly reason: string }): Finding {
  return {
    level: 'warn',
    code: 'SCHEMA_UNMADE',
    what: `a restore could not make ${one.object}: ${one.reason}`,
    fix: 'mend it at the source; until then a restore brings all rows back and lists it in a file',
  }
}
