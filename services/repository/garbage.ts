/**
 * Something that no signer wrote, under the number behind the ledger's last entry. Whoever may write the store can leave it there, and no
 * entry can take its name from it. It is the ledger's end, and nothing worse, only where nothing tells of an entry in its place: an
 * entry that a disk has damaged is damage.
 */
import { TidemarkError } from '../core/errors.ts'
import type { ObjectStore } from '../core/ports/object-store.ts'
import { decodeEntry, hashBytes } from '../formats/ledger-entry.ts'
import { checkpointNumber, checkpointPrefix, ledgerName, ledgerNumber } from '../formats/object-name.ts'
import type { EntryReader } from './entry-reader.ts'
import type { Lineages } from './lineages.ts'
import type { Signers } from './signers.ts'

/** Of the ledger, as far as it is read. */
interface Read {
  readonly store: ObjectStore
  readonly lineages: Lineages
  readonly signers: Signers
  readonly headHash: string
}

export interface Garbage {
  readonly number: bigint
  readonly hash: string
}

/** Hints that are looked at: a few may be as false as the rest. */
const HINTS = 4

/** What lies under a number, where that is garbage; undefined where it may be, or have been, an entry. */
export async function garbageAt(
  ledger: Read,
  reader: EntryReader,
  number: bigint,
  file: Buffer,
): Promise<Garbage | undefined> {
  if (isLikeEntry(file, ledger)) return undefined
  const { store, lineages, signers } = ledger
  if (await isHinted(ledger, reader, number)) return undefined
  for (const prefix of namesFrom(lineages.current, number)) {
    for await (const name of store.list(prefix)) {
      const later = ledgerNumber(name)
      if (later === undefined || later <= number) continue
      const behind = await reader.object(name)
      if (behind !== undefined && isSigned(behind, later, signers)) return undefined
    }
  }
  return { number, hash: hashBytes(file) }
}

/** Whether a checkpoint was there, or behind it. A hint of the very number is nobody's word, but then a person looks. */
async function isHinted(
  { store, lineages, signers }: Read,
  reader: EntryReader,
  number: bigint,
): Promise<boolean> {
  let left = HINTS
  for await (const name of store.list(checkpointPrefix(lineages.current))) {
    const hinted = checkpointNumber(name)
    if (hinted === undefined || hinted < number || left-- === 0) return false
    if (hinted === number) return true
    const file = await reader.file(hinted)
    if (file !== undefined && isSigned(file, hinted, signers)) return true
  }
  return false
}

/** Prefixes of the names of a hundred numbers and more from one on. */
function namesFrom(lineage: number, number: bigint): string[] {
  return [number, number + 100n].map((one) => ledgerName(lineage, one).replace(/\d\d\.json$/, ''))
}

function isSigned(file: Buffer, number: bigint, signers: Signers): boolean {
  try {
    decodeEntry(file, number, undefined, signers)
    return true
  } catch (error) {
    if (!(error instanceof TidemarkError)) throw error
    return error.code !== 'LEDGER_BROKEN'
  }
}

/** Any of what an entry in this place would hold: no bit, block or end that is lost takes all of it away. */
function isLikeEntry(file: Buffer, { signers, headHash }: Read): boolean {
  const text = file.toString('latin1')
  return (
    /^\s*\{\s*"body"/.test(text) ||
    text.includes(headHash) ||
    signers.trusted.some(({ id }) => text.includes(`"${id}"`))
  )
}
