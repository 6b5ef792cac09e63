/** The SQL that makes a type again. */
import { quoteLiteral, quoteName, quoteTable } from './quote.ts'
import type { SchemaObject, SchemaStatement } from '../../../core/transaction.ts'
import { collect, RANK, type Say } from '../../../formats/rank.ts'
import { rightsCommands } from './rights.ts'
import type { TypeFacts } from './schema-facts.ts'

/** Empty for what comes with something else: a table's row type, a member of an extension. */
export function typeStatements(type: TypeFacts): SchemaStatement[] {
  const name = quoteTable(type)
  const object: SchemaObject = { kind: 'type', schema: type.schema, name: type.name }
  const definition = definitionOf(type, name)
  if (definition === undefined || type.extension === true) return []
  return collect(object, (say) => {
    // A function of its own needs the type's name before the type can be made.
    if (type.subtype?.canonical != null) say(RANK.shell, `CREATE TYPE ${name}`)
    say(RANK.create, definition)
    const word = type.type === 'd' ? 'DOMAIN' : 'TYPE'
    for (const k of type.constraints ?? []) {
      if (k.valid === false)
        say(RANK.constraint, `ALTER DOMAIN ${name} ADD CONSTRAINT ${quoteName(k.name)} ${k.definition}`)
      if (k.comment != null)
        say(
          RANK.behaviour,
          `COMMENT ON CONSTRAINT ${quoteName(k.name)} ON DOMAIN ${name} IS ${quoteLiteral(k.comment)}`,
        )
    }
    sayTypeComments(say, type, `${word} ${name}`)
    say(RANK.rights, `ALTER ${word} ${name} OWNER TO ${quoteName(type.owner)}`)
    const { owner, acl = null, aclDefault = null } = type
    const rights = rightsCommands({ on: `TYPE ${name}`, owner, acl, aclDefault })
    for (const command of rights) say(RANK.rights, command)
  })
}

function sayTypeComments(say: Say, type: TypeFacts, on: string): void {
  if (type.comment != null) say(RANK.behaviour, `COMMENT ON ${on} IS ${quoteLiteral(type.comment)}`)
  for (const a of type.attributeDetails ?? [])
    if (a.comment !== null)
      say(
        RANK.behaviour,
        `COMMENT ON COLUMN ${quoteTable(type)}.${quoteName(a.name)} IS ${quoteLiteral(a.comment)}`,
      )
}

function definitionOf(type: TypeFacts, name: string): string | undefined {
  switch (type.type) {
    case 'e':
      return `CREATE TYPE ${name} AS ENUM (${(type.labels ?? []).map((l) => quoteLiteral(l.label)).join(', ')})`
    case 'd':
      return domainDefinition(type, name)
    case 'c': {
      const collations = new Map((type.attributeDetails ?? []).map((a) => [a.name, a.collation]))
      const attributes = (type.attributes ?? []).map((a) => {
        const collation = collations.get(a.name) ?? null
        return `${quoteName(a.name)} ${a.type}${collation === null ? '' : ` COLLATE ${collation}`}`
      })
      return `CREATE TYPE ${name} AS (${attributes.join(', ')})`
    }
    case 'r': {
      const s = type.subtype
      if (s === null) return undefined
      const options = [`SUBTYPE = ${s.type}`]
      if (s.opclass !== null) options.push(`SUBTYPE_OPCLASS = ${s.opclass}`)
      if (s.collation != null) options.push(`COLLATION = ${s.collation}`)
      if (s.canonical != null) options.push(`CANONICAL = ${s.canonical}`)
      if (s.diff != null) options.push(`SUBTYPE_DIFF = ${s.diff}`)
      if (s.multirange !== null) options.push(`MULTIRANGE_TYPE_NAME = ${s.multirange}`)
      return `CREATE TYPE ${name} AS RANGE (${options.join(', ')})`
    }
    default:
      return undefined
  }
}

function domainDefinition(type: TypeFacts, name: string): string {
  const collate = type.collation === null ? '' : ` COLLATE ${type.collation}`
  const missing = type.default === null ? '' : ` DEFAULT ${type.default}`
  const constraints = type.constraints ?? []
  const named = constraints.find((k) => k.type === 'n')
  const notNull = !type.notNull
    ? ''
    : `${named === undefined ? '' : ` CONSTRAINT ${quoteName(named.name)}`} NOT NULL`
  const checks = constraints
    .filter((k) => k.type !== 'n' && k.valid !== false)
    .map((k) => ` CONSTRAINT ${quoteName(k.name)} ${k.definition}`)
  return `CREATE DOMAIN ${name} AS ${type.base ?? 'text'}${collate}${missing}${notNull}${checks.join('')}`
}
