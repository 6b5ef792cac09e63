/**
 * Makes the schema at the target, and goes on behind what the target refuses: dependencies between statements are not
 * all known, so what was refused is tried again in rounds until a round makes nothing more. What is left is told.
 */
import { TidemarkError } from '../core/errors.ts'
import type { SchemaWords } from '../core/ports/dialect.ts'
import type { Refusal, Target } from '../core/ports/target.ts'
import type { SchemaStatement } from '../core/transaction.ts'
import { objectText } from '../core/object-text.ts'
import { type Unmade, unmadeOf } from './unmade.ts'

export class SchemaMaker {
  readonly #target: Target
  readonly #schemas: SchemaWords
  readonly #signal: AbortSignal
  /** Tables that were left out, as `schema.name`: what needs them is a note. */
  readonly #excluded: ReadonlySet<string>
  readonly #tried = new Set<SchemaStatement>()
  #refused: Refusal[] = []
  readonly #unmade: Unmade[] = []
  readonly #notes: string[] = []

  constructor(target: Target, schemas: SchemaWords, excluded: readonly string[], signal: AbortSignal) {
    this.#target = target
    this.#schemas = schemas
    this.#excluded = new Set(excluded)
    this.#signal = signal
  }

  /** Runs what was not run before; a refusal waits for `again`. */
  async make(
    statements: readonly SchemaStatement[],
    lane = 0,
    onStep: () => void = () => undefined,
    signal: AbortSignal = this.#signal,
  ): Promise<void> {
    const fresh = statements.filter((s) => !this.#tried.has(s))
    for (const s of fresh) this.#tried.add(s)
    this.#refused.push(...(await this.#target.run(fresh, lane, onStep, signal)))
  }

  /** Tries what was refused again and again, as long as a round makes some of it. */
  async again(): Promise<void> {
    for (let before = Infinity; this.#refused.length > 0 && this.#refused.length < before; ) {
      before = this.#refused.length
      const statements = this.#refused.map((r) => r.statement).sort((a, b) => a.rank - b.rank)
      this.#refused = [...(await this.#target.run(statements, 0, () => undefined, this.#signal))]
    }
  }

  /** Takes what was refused out of the rounds: somebody has something to put in its place. */
  take(wanted: (refusal: Refusal) => boolean): Refusal[] {
    const taken = this.#refused.filter(wanted)
    this.#refused = this.#refused.filter((r) => !taken.includes(r))
    return taken
  }

  giveBack(refused: readonly Refusal[]): void {
    this.#refused.push(...refused)
  }

  /** One statement, outside of the rounds. Resolves with its refusal. */
  async one(statement: SchemaStatement, lane = 0): Promise<Refusal | undefined> {
    return (await this.#target.run([statement], lane, () => undefined, this.#signal))[0]
  }

  tell(unmade: Unmade): void {
    this.#unmade.push(unmade)
  }

  note(text: string): void {
    this.#notes.push(text)
  }

  /**
   * Owners and rights, object by object. Grants are for what is protected as it was: where a policy, row level security
   * or a REVOKE could not be made, the grants on that object are withheld.
   */
  async grant(rights: readonly SchemaStatement[], onStep: () => void): Promise<void> {
    const bare = new Map(
      this.#refused
        .filter((r) => this.#schemas.duty(r.statement) === 'protection')
        .map((r) => [ownerOfRights(r.statement), objectText(r.statement.objects[0])]),
    )
    const isRevoke = (s: SchemaStatement): boolean => this.#schemas.duty(s) === 'revoke'
    for (const [key, group] of groups(rights)) {
      let lacking = bare.get(key)
      if (lacking === undefined && group.some(isRevoke)) {
        // All or nothing first: a grant must not stand where the revocation beside it does not.
        if ((await this.one(this.#schemas.together(group))) === undefined) {
          for (const _ of group) onStep()
          continue
        }
        const revokes = group.filter(isRevoke)
        await this.make(revokes, 0, onStep)
        this.#passOverUnknownRights()
        if (this.#refused.some((r) => revokes.includes(r.statement))) lacking = 'a REVOKE'
      }
      const given = lacking === undefined ? group : group.filter((s) => this.#schemas.duty(s) !== 'grant')
      await this.make(given, 0, onStep)
      for (const s of group) {
        if (given.includes(s)) continue
        this.tell(
          this.#unmadeOf(
            s,
            `withheld: ${lacking} could not be made, and the grant would let in more than the source did`,
          ),
        )
        onStep()
      }
    }
  }

  /** Nothing was given or taken by them that the target could have. */
  #passOverUnknownRights(): void {
    const unknown = this.take((refusal) => this.#schemas.unknownRight(refusal) !== undefined)
    for (const refusal of unknown) {
      const text = this.#schemas.unknownRight(refusal)!
      if (!this.#notes.includes(text)) this.note(text)
    }
  }

  /** The object itself is there: what is lacking are rights on it. */
  #unmadeOf(statement: SchemaStatement, reason: string): Unmade {
    const unmade = unmadeOf(statement, reason)
    const duty = this.#schemas.duty(statement)
    return duty === 'grant' || duty === 'revoke'
      ? { ...unmade, object: `rights on ${unmade.object}` }
      : unmade
  }

  /** What is left once nothing more is to come. */
  settle(): { readonly unmade: readonly Unmade[]; readonly notes: readonly string[] } {
    this.#passOverUnknownRights()
    const gone = new Set(this.#excluded)
    const needsWhatIsGone = (r: Refusal): boolean => this.#schemas.isLacking(r, gone)
    for (let known = this.#refused.find(needsWhatIsGone); known !== undefined; ) {
      const object = known.statement.objects[0]
      const what = objectText(object)
      if (/iew$/.test(object?.kind ?? '')) gone.add(`${object?.schema ?? ''}.${object?.name ?? ''}`)
      this.note(`${what}: not made, it needs a table that was left out`)
      this.take(({ statement }) => objectText(statement.objects[0]) === what)
      known = this.#refused.find(needsWhatIsGone)
    }
    this.#unmade.push(
      ...this.#refused.map((r) => ({ ...this.#unmadeOf(r.statement, r.reason), state: r.state })),
    )
    this.#refused = []
    return { unmade: this.#unmade, notes: this.#notes }
  }
}

/** With --strict: the first thing that cannot be made as it was ends the restore. */
export function strictStop(first: Unmade, others: number): TidemarkError {
  return new TidemarkError(
    'TARGET_FAILED',
    `the target refuses ${first.object}: ${first.reason}${others > 0 ? `, and ${others} more` : ''}`,
    {
      next: 'mend the cause, then run the same restore again; without --strict it goes on behind what cannot be made',
    },
  )
}

/** What no record makes again, of a restore that was to bring everything. */
export function leftOutStop(first: Unmade, others: number): TidemarkError {
  return new TidemarkError(
    'TARGET_FAILED',
    `${first.object} cannot be made: ${first.reason}${others > 0 ? `; and ${others} more` : ''}`,
    {
      next: 'a point behind the next reading of the schema, or the same without --strict, which names what it leaves out',
    },
  )
}

/** The table, for what hangs on one; else the object itself. */
function ownerOfRights(s: SchemaStatement): string {
  const object = s.objects[0]
  return object?.table === undefined
    ? `${object?.schema ?? ''}.${object?.name ?? ''}`
    : `${object.schema ?? ''}.${object.table}`
}

function groups(rights: readonly SchemaStatement[]): Map<string, SchemaStatement[]> {
  const out = new Map<string, SchemaStatement[]>()
  for (const s of rights) {
    const key = ownerOfRights(s)
    const held = out.get(key)
    if (held === undefined) out.set(key, [s])
    else held.push(s)
  }
  return out
}
