/**
 * Rights that only newer servers know: MAINTAIN, from 17 on. An older one refuses the whole command that names one among others, so
 * it stands in a command of its own; and where it is refused, nothing was given or taken that the server could have had.
 */
import type { Refusal } from '../../../core/ports/target.ts'
import { objectText } from '../../../core/object-text.ts'

const NEWER: ReadonlySet<string> = new Set(['MAINTAIN'])
const NAME = '"(?:[^"]|"")*"'
const COMMAND = new RegExp(
  `^((?:SET ROLE (?:${NAME}|[^;"]+); |ALTER DEFAULT PRIVILEGES FOR ROLE ${NAME}(?: IN SCHEMA ${NAME})? )?(?:GRANT|REVOKE) )([A-Z ]+(?:, [A-Z ]+)*)( ON .*)$`,
  's',
)

/** The command in those that a server of any version takes or refuses as a whole. */
export function apartByServer(sql: string): string[] {
  const match = COMMAND.exec(sql)
  if (match === null) return [sql]
  const [, head = '', list = '', tail = ''] = match
  const rights = list.split(', ')
  const [newer, others] = [rights.filter((one) => NEWER.has(one)), rights.filter((one) => !NEWER.has(one))]
  return newer.length === 0 || others.length === 0
    ? [sql]
    : [others, newer].map((some) => `${head}${some.join(', ')}${tail}`)
}

/** For people: a right that the server does not know at all; undefined for any other refusal. */
export function unknownRight({ statement, state, reason }: Refusal): string | undefined {
  // 42601: syntax_error
  const right =
    state === '42601' ? /unrecognized privilege type "(\w+)"/.exec(reason)?.[1]?.toUpperCase() : undefined
  const [, , list] = COMMAND.exec(statement.sql) ?? []
  return right !== undefined && list === right
    ? `${right} on ${objectText(statement.objects[0])}: the target's server has no such right; the others are given`
    : undefined
}
