/** Makes a schema in an empty database without rows, to know before a restore what cannot be made. */
import type { SchemaWords } from '../core/ports/dialect.ts'
import type { Target } from '../core/ports/target.ts'
import type { SchemaStatement } from '../core/transaction.ts'
import { SchemaMaker } from './schema-maker.ts'
import type { Unmade } from './unmade.ts'

/** In the order of a restore, and with its rules of who runs what. */
export async function trySchema(
  target: Target,
  schemas: SchemaWords,
  statements: readonly SchemaStatement[],
  restoreId: string,
  signal: AbortSignal,
): Promise<readonly Unmade[]> {
  await target.begin(restoreId)
  const steps = schemas.steps(statements, { roleAttributes: false })
  const maker = new SchemaMaker(target, schemas, [], signal)
  await maker.make(steps.before)
  await maker.again()
  await maker.grant(steps.access, () => undefined)
  await maker.make(steps.build)
  await maker.again()
  await maker.grant(steps.rights, () => undefined)
  await maker.make(steps.check)
  await maker.again()
  await maker.make(steps.last)
  await maker.again()
  await target.finish()
  return maker.settle().unmade
}
