/** One table of a copy, while its parts are copied. */
import type { SnapshotTable } from '../core/ports/source.ts'
import type { EntryOf } from '../formats/ledger-entry.ts'

export interface CopiedPart {
  readonly kind: 'copied'
  readonly rows: number
  readonly rawBytes: number
  readonly objects: EntryOf<'table'>['parts'][number][]
}

export class TableWork {
  readonly table: SnapshotTable
  readonly parts = new Map<number, CopiedPart>()
  left: number
  outcome: 'moved' | 'vanished' | 'refused' | undefined
  /** Of a refusal. */
  reason = ''

  constructor(table: SnapshotTable) {
    this.table = table
    this.left = table.parts.length
  }
}
