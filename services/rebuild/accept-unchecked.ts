/** Rules that rows of the source break come back as the source had them: for new rows only. */
import type { SchemaWords } from '../core/ports/dialect.ts'
import type { SchemaMaker } from './schema-maker.ts'
import { unmadeOf } from './unmade.ts'

/** Takes such refusals out of the rounds, puts the unchecked form in their place and tells it. */
export async function acceptUnchecked(maker: SchemaMaker, schemas: SchemaWords): Promise<void> {
  for (const refusal of maker.take((one) => schemas.forNewRows(one) !== undefined)) {
    const rule = schemas.forNewRows(refusal)!
    const isMade = rule.statement !== undefined && (await maker.one(rule.statement)) === undefined
    if (isMade && rule.note !== undefined) maker.note(rule.note)
    else maker.tell(unmadeOf(refusal.statement, refusal.reason, isMade ? rule.made : rule.unmade))
  }
}
