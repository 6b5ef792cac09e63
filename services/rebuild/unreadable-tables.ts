/** Tables that the backup does not have at a point: said all at once, so that one command leaves all of them out. */
import { TidemarkError } from '../core/errors.ts'
import { leavingOut } from '../core/shell-word.ts'

/** What a terminal still shows. */
const NAMED = 100

export class UnreadableTables {
  readonly #found = new Map<string, string>()

  /** False where another reason stands for the table already. */
  add(name: string, why: string): boolean {
    if (this.#found.has(name)) return false
    this.#found.set(name, why)
    return true
  }

  /**
   * @param elsewhere which other points have all of them, for people
   * @throws TidemarkError GAP where there are any
   */
  refuse(elsewhere: () => readonly string[]): void {
    const names = [...this.#found.keys()]
    const [first] = names
    if (first === undefined) return
    const why = this.#found.get(first)!
    const others = names.length - 1
    const left = names.length - NAMED
    throw new TidemarkError(
      'GAP',
      `${first} ${why}${others === 0 ? '' : `; and ${others} other table${others === 1 ? '' : 's'}`}`,
      {
        next: [
          ...elsewhere(),
          `the same with ${leavingOut(names.slice(0, NAMED))}${left > 0 ? `, and ${left} more of which the next try tells` : ''}`,
        ].join(', or '),
      },
    )
  }
}
