/** Readings of the schema as a generation has them: a whole one, and the changes that continue it. */
import type { SchemaFacts } from '../core/transaction.ts'
import { parseSchemaChange, type ReadingEntry, withChange, withoutUnread } from '../formats/schema-change.ts'
import type { Generation } from '../repository/generation.ts'
import { byName, type NamedReadings, readingChain } from '../repository/reading-chain.ts'
import type { Repository } from '../repository/repository.ts'

/** Changes that are fetched at once. */
const TOGETHER = 16

export class SchemaReadings {
  readonly #repository: Repository
  readonly #generation: Generation
  readonly #named: NamedReadings
  /** Chains share their beginnings. */
  readonly #objects = new Map<bigint, Promise<Buffer>>()

  constructor(repository: Repository, generation: Generation) {
    this.#repository = repository
    this.#generation = generation
    this.#named = byName(generation.schemas)
  }

  /** Undefined where a reading that it continues is not in the ledger. */
  async facts(entry: ReadingEntry): Promise<SchemaFacts | undefined> {
    const chain = readingChain(this.#named, entry)
    if (chain === undefined) return undefined
    const [whole, ...changes] = chain
    let facts = JSON.parse((await this.#fetch(whole)).toString('utf8')) as SchemaFacts
    for (let at = 0; at < changes.length; at += TOGETHER)
      for (const bytes of await Promise.all(changes.slice(at, at + TOGETHER).map((e) => this.#fetch(e))))
        facts = withChange(facts, parseSchemaChange(bytes))
    return withoutUnread(facts)
  }

  /** The objects that this reading found changed without a record. */
  async untold(entry: ReadingEntry): Promise<readonly string[] | undefined> {
    const bytes = await this.#fetch(entry)
    const { untold } =
      entry.body.kind === 'schema'
        ? (JSON.parse(bytes.toString('utf8')) as SchemaFacts)
        : parseSchemaChange(bytes)
    return untold?.objects
  }

  #fetch({ number, body }: ReadingEntry): Promise<Buffer> {
    let held = this.#objects.get(number)
    if (held === undefined) {
      const context = { kind: body.kind, generation: String(this.#generation.facts.generation) }
      held = this.#repository.getSealed(body.object, context)
      held.catch(() => undefined)
      this.#objects.set(number, held)
    }
    return held
  }
}
