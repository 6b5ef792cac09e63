/**
 * Lineages: each promotion of a copy opens one, and whoever goes around something that is no entry. Numbers go on, names say the lineage, and the first entry of a lineage names the last one
 * that it shares with the one before: what the old primary wrote behind that is an orphan, and never read.
 */
import { TidemarkError } from '../core/errors.ts'
import type { ObjectStore } from '../core/ports/object-store.ts'
import type { EntryOf } from '../formats/ledger-entry.ts'
import { ledgerName, ledgerNumber, ledgerPrefix } from '../formats/object-name.ts'

interface Begin {
  readonly lineage: number
  readonly from: bigint
  /** What has its first number in the lineage before, where that is no entry: its SHA-256. */
  readonly garbage?: string
}

export class Lineages {
  readonly #begins: Begin[] = [{ lineage: 1, from: 1n }]

  get current(): number {
    return this.#begins.at(-1)!.lineage
  }

  /** Those after the first, with the number of their first entry. */
  get later(): readonly Begin[] {
    return this.#begins.slice(1)
  }

  at(number: bigint): number {
    return this.#begins.findLast((one) => one.from <= number)?.lineage ?? 1
  }

  nameOf(number: bigint): string {
    return ledgerName(this.at(number), number)
  }

  /** As before the first was learned: what a checkpoint told of them counts only where the rest of it is true as well. */
  forget(): void {
    this.#begins.length = 1
  }

  /** Known already or not. @throws TidemarkError LEDGER_BROKEN where it does not follow the lineage before */
  learn(number: bigint, body: EntryOf<'lineage' | 'detour'>): void {
    if (this.#begins.some((one) => one.lineage === body.lineage && one.from === number)) return
    if (body.lineage !== this.current + 1 || BigInt(body.shared.number) !== number - 1n)
      throw new TidemarkError('LEDGER_BROKEN', `ledger entry ${number} opens a lineage where none can begin`)
    this.#begins.push({
      lineage: body.lineage,
      from: number,
      ...(body.kind === 'detour' ? { garbage: body.garbage } : {}),
    })
  }
}

/**
 * Where a store's later lineages begin, by the first name of each. What an older one has from there on is nobody's: a writer that
 * did not know yet of a promotion may have put it into the very store that was promoted. A listing may miss the newest lineage,
 * which then is found behind the end of the one before.
 */
export async function listedForks(store: ObjectStore): Promise<ReadonlyMap<number, bigint>> {
  const forks = new Map<number, bigint>()
  for (let lineage = 2; ; lineage++) {
    for await (const name of store.list(ledgerPrefix(lineage))) {
      const number = ledgerNumber(name)
      if (number === undefined) continue
      forks.set(lineage, number)
      break
    }
    if (!forks.has(lineage)) return forks
  }
}

export interface LedgerEnd {
  readonly lineage: number
  /** 0 where there is no entry at all. */
  readonly number: bigint
}

/**
 * Where a store's ledger ends. It is filled in order, so a few names tell; listings may miss the newest.
 *
 * @param guess where it is likely to end
 */
export async function endOf(store: ObjectStore, guess: bigint): Promise<LedgerEnd> {
  let end: LedgerEnd = { lineage: 1, number: await headOf(store, guess, (number) => ledgerName(1, number)) }
  for (;;) {
    const lineage = end.lineage + 1
    if (end.number === 0n) return end
    const from = await firstOf(store, lineage, end.number + 1n)
    if (from === undefined) return end
    end = {
      lineage,
      number: await headOf(store, guess > from ? guess : from, (number) =>
        number < from ? undefined : ledgerName(lineage, number),
      ),
    }
  }
}

/** The first number of a lineage: behind the one before, or where something that is no entry has a number of that. */
async function firstOf(store: ObjectStore, lineage: number, behind: bigint): Promise<bigint | undefined> {
  if ((await store.size(ledgerName(lineage, behind))) !== undefined) return behind
  for await (const name of store.list(ledgerPrefix(lineage))) return ledgerNumber(name)
  return undefined
}

/** @param nameOf of an entry; undefined for one that is known to be there */
export async function headOf(
  store: ObjectStore,
  guess: bigint,
  nameOf: (number: bigint) => string | undefined,
): Promise<bigint> {
  const exists = async (number: bigint): Promise<boolean> => {
    const name = number === 0n ? undefined : nameOf(number)
    return name === undefined || (await store.size(name)) !== undefined
  }
  let low = guess
  let high = guess + 1n
  if (await exists(guess))
    for (let step = 1n; await exists(high); step *= 2n) [low, high] = [high, high + 2n * step]
  else {
    high = guess
    low = guess - 1n
    for (let step = 1n; !(await exists(low)); step *= 2n)
      [high, low] = [low, low > 2n * step ? low - 2n * step : 0n]
  }
  // `low` is there (or 0), `high` is not.
  while (high - low > 1n) {
    const middle = (low + high) / 2n
    if (await exists(middle)) low = middle
    else high = middle
  }
  return low
}
