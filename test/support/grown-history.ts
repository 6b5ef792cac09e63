/**
 * Random histories of everything that a database goes through: each statement is chosen from what the catalog has at
 * that moment, and one that the server refuses is rolled back alone, so that a history needs no model of the server.
 */
import type pg from 'pg'
import type { State } from './grown-state.ts'
import { readState } from './grown-state.ts'
import { ACTIONS, LIGHT, QUICK, TREE } from './grown-actions.ts'
import type { Dice } from './grown-dice.ts'

/** Left out of every history until it comes back as it was: a name of `ACTIONS` and why, a sentence each. */
const NOT_YET: Readonly<Record<string, string>> = {}

/** At most this long behind a lock: what a prepared transaction holds is held until its end. */
const LOCK_TIMEOUT = '400ms'
const PREPARED = 'grown'

export class GrownHistory {
  readonly #client: pg.Client
  readonly #dice: Dice
  readonly #roles: readonly string[]
  readonly #version: number
  readonly #next: () => number
  /** What ran, for whoever has to find the fault: a script for psql. */
  readonly script: string[] = []
  /** Of each kind of action: how many statements the server took, and refused. */
  readonly taken = new Map<string, [number, number]>()
  /** Why the server refused, and how often. */
  readonly refusals = new Map<string, number>()
  #prepared = 0

  constructor(client: pg.Client, next: () => number, roles: readonly string[], version: number) {
    this.#client = client
    this.#next = next
    this.#roles = roles
    this.#version = version
    const int = (limit: number): number => Math.floor(next() * limit)
    this.#dice = {
      int,
      chance: (share) => next() < share,
      pick: (list) => list[int(list.length)]!,
    }
  }

  /** One transaction, or the end of one that was prepared. */
  async step(): Promise<void> {
    if (this.#prepared > 0 && --this.#prepared === 0) {
      await this.#run(`${this.#dice.chance(0.75) ? 'COMMIT' : 'ROLLBACK'} PREPARED '${PREPARED}'`)
      return
    }
    const unseen = this.#prepared === 0 && this.#dice.chance(0.03)
    const prepare = this.#prepared === 0 && !unseen && this.#dice.chance(0.06)
    if (unseen)
      await this.#run(
        this.#version >= 17 ? 'SET event_triggers = off' : 'SET session_replication_role = replica',
      )
    await this.#run('BEGIN')
    await this.#run(`SET LOCAL lock_timeout = '${LOCK_TIMEOUT}'`)
    const count = 1 + this.#dice.int(5)
    for (let i = 0; i < count; i++) await this.#act()
    if (prepare && (await this.#run(`PREPARE TRANSACTION '${PREPARED}'`)))
      this.#prepared = 2 + this.#dice.int(3)
    else await this.#run('COMMIT')
    if (unseen)
      await this.#run(this.#version >= 17 ? 'RESET event_triggers' : 'RESET session_replication_role')
  }

  /** Ends what is open, so that everything can be read. */
  async settle(): Promise<void> {
    if (this.#prepared > 0) await this.#run(`COMMIT PREPARED '${PREPARED}'`)
    this.#prepared = 0
  }

  /**
   * Commands at partitioned tables, each a transaction of its own and right behind the one before, so that no reading of the
   * schema comes between. Nothing may be prepared.
   *
   * @returns the last one that the server took, and a table that came right behind it: what is read of the schema then knows more
   */
  async quickly(): Promise<{ readonly xid: string; readonly behind: string } | undefined> {
    let last: string | undefined
    for (let left = 1 + this.#dice.int(4); left > 0; left--) {
      await this.#run('BEGIN')
      await this.#run(`SET LOCAL lock_timeout = '${LOCK_TIMEOUT}'`)
      const took = await this.#act(QUICK)
      const { rows } = await this.#client.query<{ xid: string }>('SELECT pg_current_xact_id()::text AS xid')
      if ((await this.#run('COMMIT')) && took) last = rows[0]!.xid
    }
    if (last === undefined) return undefined
    const behind = `behind_${last}`
    await this.#run(`CREATE TABLE ${behind} ()`)
    return { xid: last, behind: `public.${behind}` }
  }

  /** @returns whether all of it was taken */
  async #act(among?: ReadonlySet<string>): Promise<boolean> {
    const state: State = await readState(this.#client, this.#roles, this.#version)
    // There is nothing below a parent where there is none.
    const names = among !== undefined && state.partitioned.length === 0 ? TREE : among
    const usable = Object.entries(ACTIONS).filter(
      ([name]) =>
        NOT_YET[name] === undefined &&
        (names?.has(name) ?? true) &&
        (this.#prepared === 0 || LIGHT.has(name)),
    )
    let left = this.#next() * usable.reduce((sum, [, { weight }]) => sum + weight, 0)
    const [name, action] = usable.find(([, { weight }]) => (left -= weight) < 0) ?? usable[0]!
    const statements = action.make(this.#dice, state)
    if (statements === undefined) return false
    const counts = this.taken.get(name) ?? [0, 0]
    this.taken.set(name, counts)
    await this.#run('SAVEPOINT s')
    for (const statement of [statements].flat())
      if (await this.#run(statement)) counts[0]++
      else {
        counts[1]++
        await this.#run('ROLLBACK TO s')
        return false
      }
    return this.#run('RELEASE s')
  }

  async #run(statement: string): Promise<boolean> {
    try {
      await this.#client.query(statement)
      this.script.push(`${statement};`)
      return true
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error)
      this.script.push(`${statement}; -- refused: ${reason.split('\n')[0] ?? ''}`)
      const kind = reason.replaceAll(/"[^"]*"/g, '…').split('\n')[0] ?? ''
      this.refusals.set(kind, (this.refusals.get(kind) ?? 0) + 1)
      return false
    }
  }
}
