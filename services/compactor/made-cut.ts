/** A cut whose objects are stored, here or elsewhere. */
import type { EntryOf, SealedRef } from '../formats/ledger-entry.ts'
import type { OpenCut } from './open-cut.ts'

/** What stands for a cut's changes: objects that are stored already, for an entry to name. */
export interface MadeCut {
  readonly objects: EntryOf<'segments'>['objects']
  readonly index: SealedRef
  /** Of the sealed objects with changes. */
  readonly bytes: number
  readonly transactions: number
  readonly changes: number
  /** Its sample of sequences stands in the index. */
  readonly hasSequences: boolean
}

export type BuildCut = (cut: OpenCut, signal: AbortSignal) => Promise<MadeCut>
