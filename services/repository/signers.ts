/**
 * Who may sign what: each signer's key counts for a range of ledger entries, and some kinds are the keeper's alone. A writer is the
 * machine that is most exposed: whoever takes its key can add to the backup, but not take away from it.
 */
import { createPublicKey, type KeyObject } from 'node:crypto'
import { TidemarkError } from '../core/errors.ts'
import type { EntryKind, EntryOf } from '../formats/ledger-entry.ts'
import type { SignerKeys } from '../formats/signed-line.ts'

export interface TrustedSigner {
  readonly id: string
  readonly role: 'writer' | 'keeper'
  readonly publicKey: string
  /** The first entry that it may sign; from the beginning where it is not given. */
  readonly from?: string | undefined
  /** The last one: it was retired there. */
  readonly to?: string | undefined
}

const KEEPERS: ReadonlySet<string> = new Set<EntryKind>([
  'signers',
  'lineage',
  'hold-released',
  'retire',
  'retire-undone',
  'removed',
])

/** Whether entries of a kind are the keeper's alone to sign. */
export function isKeepers(kind: EntryKind): boolean {
  return KEEPERS.has(kind)
}

/** For whoever signs with a key that was retired. */
const NEWER_KEY =
  'copy keys/writer (of a keeper: keys/restore) from where `tidemark keys rotate-signer` ran into this keys folder, then start it again'

interface Known {
  readonly role: TrustedSigner['role']
  readonly key: KeyObject
  readonly pem: string
  readonly from: bigint
  to: bigint | undefined
}

export class Signers implements SignerKeys {
  readonly #known = new Map<string, Known>()

  constructor(trusted: readonly TrustedSigner[]) {
    for (const { id, role, publicKey, from, to } of trusted)
      this.#known.set(id, {
        role,
        key: createPublicKey(publicKey),
        pem: publicKey,
        from: BigInt(from ?? '1'),
        to: to === undefined ? undefined : BigInt(to),
      })
  }

  get(id: string): KeyObject | undefined {
    return this.#known.get(id)?.key
  }

  isKeeper(id: string): boolean {
    return this.#known.get(id)?.role === 'keeper'
  }

  /** Whether somebody was retired before an entry of a number. */
  isRetired(id: string, number: bigint): boolean {
    const to = this.#known.get(id)?.to
    return to !== undefined && number > to
  }

  refusal(id: string, number: bigint, kind: string | undefined): string | undefined {
    const known = this.#known.get(id)
    if (known === undefined) return 'is no signer of this backup'
    if (number < known.from) return `signs from entry ${known.from} on`
    if (known.to !== undefined && number > known.to) return `was retired with entry ${known.to}`
    if (kind !== undefined && KEEPERS.has(kind) && known.role !== 'keeper')
      return `is a writer, and may not write an entry of the kind ${kind}`
    return undefined
  }

  /** Before anything is signed. @throws TidemarkError SIGNER_REFUSED */
  confirm(id: string, number: bigint, kind: string | undefined): void {
    const refusal = this.refusal(id, number, kind)
    if (refusal === undefined) return
    const isOver = this.isRetired(id, number)
    throw new TidemarkError('SIGNER_REFUSED', `${id} ${refusal}`, isOver ? { next: NEWER_KEY } : {})
  }

  /** @throws TidemarkError LEDGER_BROKEN for an entry that cannot be */
  admit(number: bigint, body: EntryOf<'signers'>): void {
    for (const { id, publicKey } of body.add) {
      const held = this.#known.get(id)
      if (held !== undefined && held.pem !== publicKey)
        throw new TidemarkError('LEDGER_BROKEN', `ledger entry ${number} gives signer ${id} another key`)
    }
  }

  /** What a `signers` entry says; it was signed by a keeper. Known already or not. */
  learn(number: bigint, body: EntryOf<'signers'>): void {
    this.admit(number, body)
    for (const { id, role, publicKey } of body.add) {
      const held = this.#known.get(id)
      if (held === undefined)
        this.#known.set(id, {
          role,
          key: createPublicKey(publicKey),
          pem: publicKey,
          from: number + 1n,
          to: undefined,
        })
    }
    for (const id of body.retire) {
      const held = this.#known.get(id)
      if (held !== undefined && (held.to === undefined || held.to > number)) held.to = number
    }
  }

  /** For trust.json. */
  get trusted(): TrustedSigner[] {
    return [...this.#known].map(([id, { role, pem, from, to }]) => ({
      id,
      role,
      publicKey: pem,
      ...(from === 1n ? {} : { from: from.toString() }),
      ...(to === undefined ? {} : { to: to.toString() }),
    }))
  }
}
