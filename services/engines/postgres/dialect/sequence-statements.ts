/** The SQL that makes a sequence again (those of identity columns come with their table). */
import { quoteLiteral, quoteName, quoteTable } from './quote.ts'
import type { SchemaStatement } from '../../../core/transaction.ts'
import { collect, RANK } from '../../../formats/rank.ts'
import { rightsCommands } from './rights.ts'
import type { SequenceFacts } from './schema-facts.ts'

export function sequenceStatements(s: SequenceFacts): SchemaStatement[] {
  if (s.extension === true) return []
  const name = quoteTable(s)
  return collect({ kind: 'sequence', schema: s.schema, name: s.name }, (say) => {
    say(
      RANK.create,
      `CREATE ${s.persistence === 'u' ? 'UNLOGGED ' : ''}SEQUENCE ${name} AS ${s.type} INCREMENT BY ${s.increment} MINVALUE ${s.min} MAXVALUE ${s.max} START WITH ${s.start} CACHE ${s.cache} ${s.cycle ? 'CYCLE' : 'NO CYCLE'}`,
    )
    if (s.comment != null) say(RANK.behaviour, `COMMENT ON SEQUENCE ${name} IS ${quoteLiteral(s.comment)}`)
    say(RANK.rights, `ALTER SEQUENCE ${name} OWNER TO ${quoteName(s.owner)}`)
    const { owner, acl = null, aclDefault = null } = s
    const rights = rightsCommands({ on: `SEQUENCE ${name}`, owner, acl, aclDefault })
    for (const command of rights) say(RANK.rights, command)
    if (s.ownedBy !== null) say(RANK.rights + 1, `ALTER SEQUENCE ${name} OWNED BY ${s.ownedBy}`)
  })
}
