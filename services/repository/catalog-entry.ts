/** What the catalog takes of the ledger's entries, and keeps of those that moved the backup's beginning. */
import type { EntryBody, EntryOf } from '../formats/ledger-entry.ts'
import type { Floor } from './floor.ts'

/** The beginning of the backup moved: for good once its objects are `removed`. */
export interface Retirement {
  readonly id: string
  readonly number: bigint
  readonly writtenAt: string
  readonly entry: EntryOf<'retire'>
  readonly floor: Floor
  isRemoved: boolean
}

/** What the catalog needs of an entry; a body of an unknown, ignorable kind is undefined. */
export interface CatalogEntry {
  readonly number: bigint
  readonly writtenAt: string
  /** Not known of what a checkpoint kept. */
  readonly signer?: string
  readonly body: EntryBody | undefined
}
