/** Every name that the ledger has ever named, as 64 bits of a hash each: a million names take 8 MB. */
import { createHash } from 'node:crypto'
import type { Ledger } from './ledger.ts'
import { namedObjects } from './named-objects.ts'

export class NameSet {
  #hashes = new BigUint64Array(1024)
  #count = 0
  #isSorted = true

  static async ofLedger(ledger: Ledger): Promise<NameSet> {
    const names = new NameSet()
    for await (const entry of ledger.walk())
      for (const { object } of namedObjects(entry)) names.add(object.name)
    return names
  }

  add(name: string): void {
    if (this.#count === this.#hashes.length) {
      const larger = new BigUint64Array(this.#hashes.length * 2)
      larger.set(this.#hashes)
      this.#hashes = larger
    }
    this.#hashes[this.#count++] = hashOf(name)
    this.#isSorted = false
  }

  /** True for every name that was added; for another one, once in 2^44 with a million names. */
  has(name: string): boolean {
    if (!this.#isSorted) this.#hashes.subarray(0, this.#count).sort()
    this.#isSorted = true
    const wanted = hashOf(name)
    let low = 0
    let high = this.#count
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#hashes[middle]! < wanted) low = middle + 1
      else high = middle
    }
    return low < this.#count && this.#hashes[low] === wanted
  }
}

function hashOf(name: string): bigint {
  return createHash('sha256').update(name).digest().readBigUInt64LE(0)
}
