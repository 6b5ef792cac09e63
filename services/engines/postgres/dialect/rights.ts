/**
 * The one way from an object as it was just made to the rights that it had at the source: from the server's own text of
 * access privileges ("role=rw*\/grantor"; PostgreSQL manual, section 5.8) to GRANT and REVOKE.
 */
import { quoteName } from './quote.ts'
import type { SchemaStatement } from '../../../core/transaction.ts'

/** aclitem[] as text: what the source has, and what acldefault() gives for an object of this kind and owner. */
interface Rights {
  /** null: as acldefault() has it */
  readonly acl: readonly string[] | null
  readonly aclDefault: readonly string[] | null
}

interface Grant {
  /** Quoted; undefined is PUBLIC. */
  readonly grantee: string | undefined
  readonly grantor: string
  /** One letter each, as aclitem has them. */
  readonly privileges: string
  readonly grantable: boolean
}

const PRIVILEGES: Readonly<Record<string, string>> = {
  r: 'SELECT',
  a: 'INSERT',
  w: 'UPDATE',
  d: 'DELETE',
  D: 'TRUNCATE',
  x: 'REFERENCES',
  t: 'TRIGGER',
  m: 'MAINTAIN',
  X: 'EXECUTE',
  U: 'USAGE',
  C: 'CREATE',
  c: 'CONNECT',
  T: 'TEMPORARY',
  s: 'SET',
  A: 'ALTER SYSTEM',
}

export interface RightsOf extends Rights {
  /** What GRANT … ON names: `TABLE "s"."t"`. */
  readonly on: string
  /** Not quoted. */
  readonly owner: string
  /** In front of each command; of default privileges. */
  readonly prefix?: string
  /** Whether the object stood in the target before: then what it grants there is not acldefault(). */
  readonly revokeFirst?: boolean
}

/**
 * GRANT and REVOKE that lead from acldefault() to the source's rights, in an order in which each grantor may grant.
 * Empty where they are the same.
 */
export function rightsCommands(object: RightsOf): string[] {
  const { on, prefix = '' } = object
  const owner = quoteName(object.owner)
  const initial = (object.aclDefault ?? []).flatMap(parseItem)
  const wanted = object.acl === null ? initial : object.acl.flatMap(parseItem)
  const kept = object.revokeFirst === true ? false : startsWith(wanted, initial)
  if (kept && wanted.length === initial.length) return []
  const commands: string[] = []
  if (!kept) {
    commands.push(`${prefix}REVOKE ALL ON ${on} FROM PUBLIC`)
    commands.push(`${prefix}REVOKE ALL ON ${on} FROM ${owner}`)
  }
  const ofOwner = initial.find((g) => g.grantee === owner)
  for (const grant of inGrantOrder(kept ? wanted.slice(initial.length) : wanted, owner)) {
    const all =
      grant.grantee === owner && ofOwner !== undefined && sameLetters(grant.privileges, ofOwner.privileges)
    const what = all ? 'ALL' : [...grant.privileges].map((letter) => PRIVILEGES[letter]).join(', ')
    commands.push(...asGrantor(grant, owner, `${prefix}GRANT ${what} ON ${on}`))
  }
  return commands
}

const NAME = '"(?:[^"]|"")*"'
const RIGHTS = new RegExp(`^(?:SET ROLE (?:${NAME}|\\S+); )?(?:GRANT|REVOKE) `)
const OF_COLUMNS = new RegExp(
  `^(${RIGHTS.source.slice(1)})([A-Z]+ \\((${NAME})\\)(?:, [A-Z]+ \\(${NAME}\\))*)( ON .*)$`,
  's',
)

export const isRights = ({ sql }: Pick<SchemaStatement, 'sql'>): boolean => RIGHTS.test(sql)

/**
 * What columnRightsCommands made, of a column that may have another name by now.
 *
 * @param names what columns are called now; those that are not in it keep their names
 * @returns undefined where the column is gone; a command that names no column as it is
 */
export function rightsWithColumns(
  sql: string,
  names: ReadonlyMap<string, string | undefined>,
): string | undefined {
  const [, head = '', what = '', quoted = '', on = ''] = OF_COLUMNS.exec(sql) ?? []
  if (quoted === '') return sql
  const was = quoted.slice(1, -1).replaceAll('""', '"')
  const name = names.has(was) ? names.get(was) : was
  return name === undefined
    ? undefined
    : `${head}${what.replaceAll(`(${quoted})`, () => `(${quoteName(name)})`)}${on}`
}

/** What leads from one list of rights to another on an object that came with the first. @param owner quoted */
export function rightsDifference(
  on: string,
  owner: string,
  before: readonly string[],
  after: readonly string[],
): string[] {
  return differenceOf(on, '', owner, before, after)
}

/** The same of one column, whose rights stand for themselves. */
export function columnRightsDifference(
  on: string,
  owner: string,
  column: string,
  before: readonly string[],
  after: readonly string[],
): string[] {
  return differenceOf(on, ` (${quoteName(column)})`, owner, before, after)
}

/** @param part behind each privilege: a column in brackets */
function differenceOf(
  on: string,
  part: string,
  owner: string,
  before: readonly string[],
  after: readonly string[],
): string[] {
  const one = (items: readonly string[]): Map<string, Grant> =>
    new Map(
      items.flatMap(parseItem).flatMap((grant) =>
        [...grant.privileges].map((letter) => {
          const key = `${grant.grantee ?? ''} ${grant.grantor} ${letter} ${grant.grantable}`
          return [key, { ...grant, privileges: letter }] as const
        }),
      ),
    )
  const had = one(before)
  const has = one(after)
  const revoked = [...had].flatMap(([key, g]) =>
    has.has(key) ? [] : [`REVOKE ${PRIVILEGES[g.privileges]}${part} ON ${on} FROM ${g.grantee ?? 'PUBLIC'}`],
  )
  const granted = [...has].flatMap(([key, g]) => (had.has(key) ? [] : [g]))
  return [
    ...revoked,
    ...inGrantOrder(granted, owner).flatMap((g) =>
      asGrantor(g, owner, `GRANT ${PRIVILEGES[g.privileges]}${part} ON ${on}`),
    ),
  ]
}

/** The same for columns, which grant nothing by default. */
export function columnRightsCommands(
  table: string,
  owner: string,
  column: string,
  acl: readonly string[],
): string[] {
  return inGrantOrder(acl.flatMap(parseItem), quoteName(owner)).flatMap((grant) => {
    const what = [...grant.privileges].map((letter) => `${PRIVILEGES[letter]} (${quoteName(column)})`)
    return asGrantor(grant, quoteName(owner), `GRANT ${what.join(', ')} ON ${table}`)
  })
}

function asGrantor(grant: Grant, owner: string, command: string): string[] {
  const sql = `${command} TO ${grant.grantee ?? 'PUBLIC'}${grant.grantable ? ' WITH GRANT OPTION' : ''}`
  // A grant by who is not the owner stays that one's: revoked with its own right to grant.
  return [grant.grantor === owner ? sql : `SET ROLE ${grant.grantor}; ${sql}; RESET ROLE`]
}

function startsWith(wanted: readonly Grant[], initial: readonly Grant[]): boolean {
  return initial.every((grant, i) => {
    const other = wanted[i]
    return (
      other !== undefined &&
      other.grantee === grant.grantee &&
      other.grantor === grant.grantor &&
      other.grantable === grant.grantable &&
      sameLetters(other.privileges, grant.privileges)
    )
  })
}

function sameLetters(a: string, b: string): boolean {
  return [...a].sort().join('') === [...b].sort().join('')
}

/** As given, but nobody grants before having been given the right to. */
function inGrantOrder(grants: readonly Grant[], owner: string): Grant[] {
  const waiting = [...grants]
  const out: Grant[] = []
  const mayGrant = (grant: Grant): boolean =>
    grant.grantor === owner ||
    [...grant.privileges].every((letter) =>
      out.some((g) => g.grantable && g.grantee === grant.grantor && g.privileges.includes(letter)),
    )
  while (waiting.length > 0) {
    const next = Math.max(waiting.findIndex(mayGrant), 0)
    out.push(...waiting.splice(next, 1))
  }
  return out
}

/** `grantee=privileges/grantor`, names in double quotes where they need it; privileges with * may be granted on. */
function parseItem(item: string): Grant[] {
  const parts = /^("(?:[^"]|"")*"|[^="]*)=([A-Za-z*]*)\/("(?:[^"]|"")*"|.*)$/s.exec(item)
  if (parts === null) return []
  const [, grantee = '', letters = '', grantor = ''] = parts
  const name = (text: string): string => (text.startsWith('"') ? text : quoteName(text))
  const given = [...letters.matchAll(/([A-Za-z])(\*?)/g)]
  return [false, true].flatMap((grantable) => {
    const privileges = given
      .filter((one) => (one[2] === '*') === grantable)
      .map((one) => one[1])
      .join('')
    return privileges === ''
      ? []
      : [
          {
            grantee: grantee === '' ? undefined : name(grantee),
            grantor: name(grantor),
            privileges,
            grantable,
          },
        ]
  })
}
