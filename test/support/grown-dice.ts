/** What actions on a random history are made of: dice, names, types and values. */
import type { Column, Relation, State } from './grown-state.ts'

export interface Dice {
  int(limit: number): number
  chance(share: number): boolean
  pick<T>(list: readonly T[]): T
}

export interface Action {
  readonly weight: number
  /** Undefined where there is nothing yet to do it to. */
  readonly make: (dice: Dice, state: State) => string | readonly string[] | undefined
}

/** Few names, so that one comes back again and again as another object. */
export const table = (d: Dice): string => `t${d.int(9)}`
export const column = (d: Dice): string => `c${d.int(6)}`
export const object = (d: Dice, letter: string): string =>
  `${d.chance(0.15) ? 'side.' : ''}${letter}${d.int(5)}`

export function type(d: Dice, s: State): string {
  const own = [...s.enums.map((e) => e.name), ...s.composites.map((c) => c.name)]
  if (own.length > 0 && d.chance(0.2)) return d.pick(own)
  return d.pick(['text', 'text', 'integer', 'bigint', 'numeric(12,3)', 'boolean', 'jsonb', 'integer[]'])
}

export function value(d: Dice, s: State, of: string): string {
  if (d.chance(0.15)) return 'NULL'
  const label = s.enums.find((e) => e.name === of)?.labels
  if (label !== undefined) return `'${d.pick(label)}'`
  const composite = s.composites.find((c) => c.name === of)
  if (composite !== undefined) return `ROW(${composite.attributes.map(() => 'NULL').join(', ')})::${of}`
  if (of === 'text')
    return d.pick([`'a${d.int(99)}'`, `'消息 👍'`, `''`, `repeat(md5('${d.int(99)}'), 90)`, `E'\\\\N'`])
  if (/^numeric/.test(of)) return `${d.int(99999)}.125`
  if (of === 'boolean') return d.pick(['true', 'false'])
  if (of === 'jsonb') return `'{"k": [${d.int(9)}, null]}'`
  if (of === 'integer[]') return `'{${d.int(9)},NULL}'`
  return String(d.int(5000))
}

export function some<T>(d: Dice, list: readonly T[]): T | undefined {
  return list.length === 0 ? undefined : d.pick(list)
}

export const isNumber = (c: Column): boolean => c.type === 'integer' || c.type === 'bigint'

/** On one table. */
export function on(make: (d: Dice, t: Relation, s: State) => string | readonly string[] | undefined) {
  return (d: Dice, s: State): string | readonly string[] | undefined => {
    const of = some(d, s.tables)
    return of === undefined ? undefined : make(d, of, s)
  }
}

/** On one column of a table. */
export function onColumn(
  make: (d: Dice, t: string, c: Column, s: State) => string | readonly string[] | undefined,
) {
  return on((d, t, s) => {
    const of = some(d, t.columns)
    return of === undefined ? undefined : make(d, `ALTER TABLE ${t.name}`, of, s)
  })
}

export const swapped = (rename: (from: string, to: string) => string, a: string, b: string): string[] => [
  rename(a, 'swap_name'),
  rename(b, a),
  rename('swap_name', b),
]
