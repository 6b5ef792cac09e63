/**
 * What a restore did to a table so that its rows come back. Kept in the target as well: the same restore run again has
 * such tables loaded already, and must still undo what it can and tell the rest.
 */
import type { Target } from '../core/ports/target.ts'
import type { SchemaStatement } from '../core/transaction.ts'
import type { Unmade } from './unmade.ts'

export interface Compromise {
  readonly oid: number
  /** Columns are text instead of their type: the table takes text only. */
  readonly asText: boolean
  /** Run behind the rows, to have back what was taken. */
  readonly later: readonly SchemaStatement[]
  readonly unmade: readonly Unmade[]
  /** The statement in whose place another stands: it is not tried again. */
  readonly replaced?: string
}

export class Compromises {
  readonly #target: Target
  readonly #all: Compromise[]

  private constructor(target: Target, all: Compromise[]) {
    this.#target = target
    this.#all = all
  }

  static async read(target: Target): Promise<Compromises> {
    const texts = await target.remembered()
    return new Compromises(
      target,
      texts.map((text) => JSON.parse(text) as Compromise),
    )
  }

  /** Kept before it is made: one that is told and was not needed in the end does less harm than one that is not told. */
  async add(compromise: Compromise): Promise<void> {
    await this.#target.remember(JSON.stringify(compromise))
    this.#all.push(compromise)
  }

  get asText(): ReadonlySet<number> {
    return new Set(this.#all.filter((c) => c.asText).map((c) => c.oid))
  }

  get replaced(): ReadonlySet<string> {
    return new Set(this.#all.flatMap((c) => (c.replaced === undefined ? [] : [c.replaced])))
  }

  get later(): readonly SchemaStatement[] {
    const bySql = new Map(this.#all.flatMap((c) => c.later.map((s) => [s.sql, s] as const)))
    return [...bySql.values()]
  }

  get unmade(): readonly Unmade[] {
    const bySql = new Map(this.#all.flatMap((c) => c.unmade.map((u) => [u.sql, u] as const)))
    return [...bySql.values()]
  }
}
