/** Segments, bases and ledger as one: what jobs read and write, through the ports. */
import type { Clock, Randomness } from '../core/clock.ts'
import { TidemarkError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { KeyProvider } from '../core/ports/key-provider.ts'
import type { SealContext } from '../formats/envelope.ts'
import { type EntryBody, type EntryKind, type LedgerEntry, type SealedRef } from '../formats/ledger-entry.ts'
import type { Signer } from '../formats/signed-line.ts'
import { COPY_MARK } from '../formats/object-name.ts'
import { judge } from './admission.ts'
import type { Catalog } from './catalog.ts'
import { newestCheckpoint, type Trusting, writeCheckpoint } from './checkpoint.ts'
import { fetchChecked, Keyring, putNew, storedAs } from './keyring.ts'
import { READ_AHEAD } from './entry-reader.ts'
import type { TrustedSigners } from './genesis.ts'
import { Ledger } from './ledger.ts'
import type { Replicas } from './replicas.ts'

const PROOF_TRIES = 5
/** What they say, or what they name, is of the newest format: nobody who does not know it may read on. */
const OF_FORMAT_2: ReadonlySet<EntryKind> = new Set(['generation', 'segments', 'table'])

export interface RepositoryOptions {
  readonly stores: Replicas
  readonly trust: TrustedSigners
  readonly provider: KeyProvider
  /** Of a writer: whom to seal for by now. */
  readonly recipientsNow?: (() => Promise<KeyProvider>) | undefined
  readonly signer: Signer | undefined
  /** Of a writer: what signs by now. */
  readonly signerNow?: (() => Promise<Signer | undefined>) | undefined
  readonly clock: Clock
  readonly randomness: Randomness
  /** Whose checkpoints are taken for what lies behind them; any signer's where it is not given. */
  readonly trusting?: Trusting | undefined
  /** Reads up to where the ledger is broken, instead of not at all: `ledger.broken` tells. Nothing can be written then. */
  readonly upToBreak?: boolean | undefined
}

export interface SealedObject {
  readonly object: SealedRef
  /** Its bytes, as they are put. */
  readonly pieces: readonly Buffer[]
}

export class Repository {
  readonly ledger: Ledger
  readonly stores: Replicas
  readonly catalog: Catalog
  readonly keyring: Keyring
  readonly clock: Clock
  readonly randomness: Randomness
  #signer: Signer | undefined
  readonly #signerNow: (() => Promise<Signer | undefined>) | undefined
  /** Lane and term under which this process writes. */
  #claim: { readonly lane: number; readonly term: number } | undefined
  #claimedAt = 0n
  #readFrom = 0n
  readonly #trusting: Trusting
  /**
   * Copies and anchors that could not be asked. One may know of newer entries that the store has lost, so whoever only reads puts
   * nothing behind the last one: it would take the place of what can still be put back.
   */
  unasked: readonly string[] = []
  /** Ledger entries that had been deleted from the store and were read from its older versions. */
  recovered = 0

  private constructor(ledger: Ledger, catalog: Catalog, options: RepositoryOptions) {
    this.ledger = ledger
    this.stores = options.stores
    this.catalog = catalog
    ledger.admits = (entry) => void judge(this.catalog, entry)
    ledger.onEntry((entry) => this.catalog.apply(entry))
    this.clock = options.clock
    this.randomness = options.randomness
    this.#signer = options.signer
    this.#signerNow = options.signerNow
    this.#trusting = options.trusting ?? 'signers'
    this.keyring = new Keyring({
      ledger,
      catalog: this.catalog,
      provider: options.provider,
      recipientsNow: options.recipientsNow,
      clock: options.clock,
      randomness: options.randomness,
    })
  }

  static async open(options: RepositoryOptions): Promise<Repository> {
    const { stores, trust, clock } = options
    const ledger = await Ledger.connect(stores.store, clock, trust)
    ledger.standsBeforeBreak = options.upToBreak === true
    ledger.isCopy = (await stores.store.size(COPY_MARK)) !== undefined
    const catalog = await newestCheckpoint(ledger, options.trusting)
    const repository = new Repository(ledger, catalog, options)
    stores.follow({ ledger, stream: trust.stream, floor: () => repository.catalog.removedFloor, clock })
    repository.#readFrom = ledger.headNumber
    await ledger.refresh(READ_AHEAD)
    await ledger.followPromotions()
    repository.recovered = await ledger.recoverDeleted()
    if (repository.catalog.stream !== trust.stream)
      throw new TidemarkError('STORE_FOREIGN', 'the ledger is of another stream than the keys')
    return repository
  }

  /** The checkpoint whose word was taken for all before it; 0 where every entry was read. */
  get readFrom(): bigint {
    return this.#readFrom
  }

  get canSign(): boolean {
    return this.#signer !== undefined
  }

  get signer(): Signer {
    if (this.#signer === undefined)
      throw new TidemarkError('KEY_MISSING', 'no signer key at hand: nothing can be written to the ledger')
    return this.#signer
  }

  /** The ledger's number of the claim: grows over all claims, of whatever lane. */
  get claimedAt(): bigint {
    return this.#claimedAt
  }

  /** Takes a lane: from here on every older writer of it is fenced. */
  async claim(lane: number): Promise<number> {
    await this.ledger.refresh()
    const term = (this.catalog.claims.get(lane)?.term ?? 0) + 1
    const writer = this.randomness.uuid()
    this.#claimedAt = (await this.ledger.append({ kind: 'claim', lane, term, writer }, this.signer)).number
    if (this.catalog.claims.get(lane)?.writer !== writer)
      throw new TidemarkError('WRITER_FENCED', `another writer claimed lane ${lane} at the same time`)
    this.#claim = { lane, term }
    return term
  }

  /** @throws TidemarkError SIGNER_REFUSED where this process's key may sign no entry any more, as far as the ledger was read */
  confirmSigner(): void {
    this.ledger.signers.confirm(this.signer.id, this.ledger.headNumber + 1n, undefined)
  }

  /**
   * After a rotation: the key that lies in the place of this process's, where the ledger takes it.
   *
   * @returns whether there is one
   */
  async renewSigner(): Promise<boolean> {
    // A folder that is not whole just then, or is no more, is one without a newer key.
    const now = await this.#signerNow?.().catch(() => undefined)
    if (now === undefined || now.id === this.#signer?.id) return false
    if (this.ledger.signers.refusal(now.id, this.ledger.headNumber + 1n, undefined) !== undefined)
      return false
    this.#signer = now
    return true
  }

  /** Whether this process's key was retired, as far as the ledger was read. */
  get isRetired(): boolean {
    const { headNumber, signers } = this.ledger
    return this.#signer !== undefined && signers.isRetired(this.#signer.id, headNumber + 1n)
  }

  /** Appends under the claim. @throws TidemarkError WRITER_FENCED when a higher term stands in the ledger */
  async append(body: EntryBody): Promise<LedgerEntry> {
    const guard = (): void => this.#guard()
    if (this.catalog.format === 1 && OF_FORMAT_2.has(body.kind))
      await this.ledger.append({ kind: 'format', format: 2 }, this.signer, guard)
    return this.ledger.append(body, this.signer, guard)
  }

  /** @throws TidemarkError WRITER_FENCED when somebody took the lane, as the ledger stands now */
  async confirmClaim(): Promise<void> {
    await this.ledger.refresh()
    this.#guard()
  }

  #guard(): void {
    const claim = this.#claim
    if (claim === undefined) return
    const held = this.catalog.claims.get(claim.lane)
    if (held !== undefined && held.term > claim.term)
      throw new TidemarkError(
        'WRITER_FENCED',
        `lane ${claim.lane} was claimed with term ${held.term}; this process has ${claim.term}`,
      )
  }

  /** Seals one object, which may come in pieces: large ones are given back. Stored by `put`, which may be tried again; the ledger entry that names it comes after both. */
  async seal(name: string, plain: Buffer | readonly Buffer[], context: SealContext): Promise<SealedObject> {
    let key = await this.keyring.current(this.signer)
    while (!this.keyring.isCurrent(key)) key = await this.keyring.current(this.signer)
    const whole = Buffer.isBuffer(plain) ? [plain] : plain
    const pieces = await this.keyring.seal(key, whole, { ...context, object: name })
    return { object: { ...storedAs(name, pieces), key: key.id }, pieces }
  }

  async put(sealed: SealedObject, signal?: AbortSignal): Promise<void> {
    await putNew(this.ledger, sealed.object.name, sealed.pieces, signal)
  }

  async getSealed(object: SealedRef, context: SealContext): Promise<Buffer> {
    const sealed = await fetchChecked(this.ledger, object)
    return this.keyring.open(object.key, sealed, { ...context, object: object.name })
  }

  /** Leaves an audit entry; false where the ledger cannot be written (the caller says so and writes it elsewhere). */
  async audit(command: string, what: string, operator: string): Promise<boolean> {
    if (this.#signer === undefined) return false
    try {
      await this.ledger.append({ kind: 'audit', command, operator, what }, this.#signer)
      return true
    } catch (error) {
      if (error instanceof TidemarkError && error.code === 'STORE_READ_ONLY') return false
      throw error
    }
  }

  /**
   * Writes a checkpoint where enough entries have come since the last one. Whoever appends in between has the better
   * right: it is tried again after the next entry.
   */
  async checkpoint(every: number = LIMITS.checkpointEntries): Promise<void> {
    if (this.catalog.sinceCheckpoint < every) return
    await writeCheckpoint(this.ledger, this.catalog, this.signer, () => this.nonce())
  }

  /** What was proven here need not be proven again: a keeper's checkpoint says so. Nothing is lost where writers are always faster. */
  async leaveProof(): Promise<void> {
    if (this.#trusting !== 'keepers' || !this.ledger.signers.isKeeper(this.signer.id)) return
    if (this.ledger.headNumber === this.#readFrom) return
    for (let tries = PROOF_TRIES; tries > 0; tries--) {
      await this.ledger.refresh()
      if (await writeCheckpoint(this.ledger, this.catalog, this.signer, () => this.nonce())) return
    }
  }

  nonce(): string {
    return this.randomness.bytes(4).toString('hex')
  }
}
