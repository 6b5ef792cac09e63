/** Tables that the backup does not have at a point: said all at once, so that one command leaves all of them out. */
import { TidemarkError } from '../core/errors.ts'
import { leavingOut } from '../core/shell-word.ts'

/** What a terminal still shows. */
const NAMED = 100

export class UnreadableTables {
  readonly #found = new Map<string, { readonly why: string; readonly elsewhere: string }>()

  /** @param elsewhere which other points have it */
  add(name: string, why: string, elsewhere: string): void {
    if (!this.#found.has(name)) this.#found.set(name, { why, elsewhere })
  }

  /** @throws TidemarkError GAP where there are any */
  refuse(): void {
    const names = [...this.#found.keys()]
    const [first] = names
    if (first === undefined) return
    const { why, elsewhere } = this.#found.get(first)!
    const others = names.length - 1
    const left = names.length - NAMED
    throw new TidemarkError(
      'GAP',
      `${first} ${why}${others === 0 ? '' : `; and ${others} other table${others === 1 ? '' : 's'}`}`,
      {
        next: `${elsewhere}${others === 0 ? '' : ' (tidemark windows lists the gaps of all)'}, or the same with ${leavingOut(names.slice(0, NAMED))}${left > 0 ? `, and ${left} more of which the next try tells` : ''}`,
      },
    )
  }
}
