/**
 * Epoch keys: segments are sealed under the current one; each is kept in the store, sealed for the recipients. The
 * writer makes a fresh one at each start and every 24 h and zeroes the old: with RSA recipients it cannot open what it
 * wrote before.
 */
import { type Clock, type Randomness } from '../core/clock.ts'
import { asTidemarkError, TidemarkError } from '../core/errors.ts'
import { isMistake } from '../core/mistake.ts'
import type { ObjectDigest } from '../core/ports/object-store.ts'
import type { KeyProvider } from '../core/ports/key-provider.ts'
import { aesKeyring, type EpochKey, openWith, type SealContext, sealPieces } from '../formats/envelope.ts'
import { type StoredObject } from '../formats/entry-fields.ts'
import { hashBytes, type NumberedEntry } from '../formats/ledger-entry.ts'
import { LIMITS } from '../core/limits.ts'
import type { Signer } from '../formats/signed-line.ts'
import { keyName } from '../formats/object-name.ts'
import type { Catalog } from './catalog.ts'
import type { Ledger } from './ledger.ts'

const EPOCH_MS = 24 * 3600 * 1000

export class Keyring {
  readonly #ledger: Ledger
  readonly #catalog: Catalog
  #provider: KeyProvider
  readonly #recipientsNow: (() => Promise<KeyProvider>) | undefined
  #askedAt: number
  readonly #clock: Clock
  readonly #randomness: Randomness
  #current: { readonly key: EpochKey; readonly since: number } | undefined
  /** The next one, while it is being stored. */
  #making: Promise<EpochKey> | undefined
  readonly #opened = new Map<string, Promise<EpochKey>>()

  constructor(options: {
    ledger: Ledger
    catalog: Catalog
    provider: KeyProvider
    /** Whom to seal for, as it is said by now: recipients come and go while a writer runs. */
    recipientsNow?: (() => Promise<KeyProvider>) | undefined
    clock: Clock
    randomness: Randomness
  }) {
    this.#ledger = options.ledger
    this.#catalog = options.catalog
    this.#provider = options.provider
    this.#recipientsNow = options.recipientsNow
    this.#clock = options.clock
    this.#askedAt = options.clock.elapsed()
    this.#randomness = options.randomness
  }

  /** The key to seal with: made and stored, with its ledger entry, before it is first used. Several callers get the same one. */
  async current(signer: Signer): Promise<EpochKey> {
    await this.#takeInRecipients()
    const held = this.#current
    if (held !== undefined && this.#clock.elapsed() - held.since < EPOCH_MS) return held.key
    this.#making ??= this.#make(signer, held?.key).finally(() => {
      this.#making = undefined
    })
    return this.#making
  }

  async #make(signer: Signer, before: EpochKey | undefined): Promise<EpochKey> {
    const id = `k${this.#randomness.bytes(8).toString('hex')}`
    const key = { id, secret: this.#randomness.bytes(32) }
    const provider = this.#provider
    const sealed = await provider.seal(key.secret, this.#context(keyName(id)))
    await putNew(this.#ledger, keyName(id), [sealed])
    await this.#ledger.append(
      {
        kind: 'key',
        key: id,
        object: { name: keyName(id), bytes: String(sealed.length), sha256: hashBytes(sealed) },
        recipients: [...provider.recipients],
      },
      signer,
    )
    // Others may read by now: it is over before it began.
    this.#current = { key, since: provider === this.#provider ? this.#clock.elapsed() : -Infinity }
    before?.secret.fill(0)
    return key
  }

  /** False once another caller has begun the next epoch: the key's bytes are zeroed then. */
  isCurrent(key: EpochKey): boolean {
    return this.#current?.key === key
  }

  /** Where somebody may no longer read, or may from now on, the epoch is over: whatever keeps the next one from beginning, it is tried until it does. */
  async #takeInRecipients(): Promise<void> {
    if (this.#recipientsNow === undefined || this.#clock.elapsed() - this.#askedAt < LIMITS.recipientsMs)
      return
    this.#askedAt = this.#clock.elapsed()
    let now: KeyProvider
    try {
      now = await this.#recipientsNow()
    } catch (error) {
      // A folder that is being changed, or is gone: nobody said that another one may read. Asked again in a minute.
      if (isMistake(error)) throw error
      return
    }
    const names = (provider: KeyProvider): string => [...provider.recipients].sort().join()
    if (names(now) === names(this.#provider)) return
    this.#provider = now
    if (this.#current !== undefined) this.#current = { ...this.#current, since: -Infinity }
  }

  /**
   * Seals an epoch key anew, for other recipients: a new object, and an entry that names it in the place of the one before. Its
   * recipients are all who can open one of the objects, for the older ones stay.
   */
  async rewrap(id: string, to: KeyProvider, signer: Signer): Promise<void> {
    const { secret } = await this.#key(id)
    const name = keyName(`${id}-${this.#randomness.bytes(4).toString('hex')}`)
    const sealed = await to.seal(secret, this.#context(name))
    await putNew(this.#ledger, name, [sealed])
    const before = this.#catalog.keys.get(id)
    const recipients = [...new Set([...(before?.body.recipients ?? []), ...to.recipients])]
    const made = before === undefined ? undefined : madeAt(before)
    const older = before === undefined ? [] : [...(before.body.older ?? []), before.body.object]
    await this.#ledger.append(
      {
        kind: 'key',
        key: id,
        object: { name, bytes: String(sealed.length), sha256: hashBytes(sealed) },
        recipients,
        ...(made === undefined ? {} : { made }),
        sealedFor: [...to.recipients],
        older,
      },
      signer,
    )
  }

  /** In pieces; what is large is given back (see sealPieces). */
  async seal(key: EpochKey, plain: readonly Buffer[], context: SealContext): Promise<readonly Buffer[]> {
    return sealPieces(aesKeyring(key.id, key.secret), plain, { stream: this.#catalog.stream, ...context })
  }

  async open(keyId: string, sealed: Buffer, context: SealContext): Promise<Buffer> {
    const key = await this.#key(keyId)
    return openWith(aesKeyring(key.id, key.secret), sealed, { stream: this.#catalog.stream, ...context })
  }

  async #key(id: string): Promise<EpochKey> {
    if (this.#current?.key.id === id) return this.#current.key
    let opening = this.#opened.get(id)
    if (opening === undefined) {
      opening = this.#openKey(id)
      opening.catch(() => this.#opened.delete(id))
      this.#opened.set(id, opening)
    }
    return opening
  }

  async #openKey(id: string): Promise<EpochKey> {
    const entry = this.#catalog.keys.get(id)
    if (entry === undefined) throw new TidemarkError('LEDGER_BROKEN', `the ledger names no epoch key ${id}`)
    if (!this.#provider.canOpen)
      throw new TidemarkError(
        'KEY_MISSING',
        "only the writer's public keys are at hand; reading needs the restore keys",
      )
    try {
      return { id, secret: await this.#openObject(entry.body.object) }
    } catch (error) {
      if (!isWrong(error)) throw error
      // A private key that was rotated away opens what was sealed for it, and the object of then stays.
      for (const object of (entry.body.older ?? []).toReversed()) {
        try {
          return { id, secret: await this.#openObject(object) }
        } catch (again) {
          if (!isWrong(again)) throw again
        }
      }
      throw sealedForOthers(error, entry)
    }
  }

  async #openObject(object: StoredObject): Promise<Buffer> {
    return this.#provider.open(await fetchChecked(this.#ledger, object), this.#context(object.name))
  }

  #context(object: string): SealContext {
    return { stream: this.#catalog.stream, kind: 'key', object }
  }
}

function isWrong(error: unknown): error is TidemarkError {
  return error instanceof TidemarkError && error.code === 'KEY_WRONG'
}

/** @returns when the epoch key was made; undefined where a version before noted only when it was sealed anew */
export function madeAt({ writtenAt, body }: NumberedEntry<'key'>): string | undefined {
  return body.made ?? (body.object.name === keyName(body.key) ? writtenAt : undefined)
}

/** The folder may be the right one, and only older than the newest recipient. */
function sealedForOthers(error: TidemarkError, entry: NumberedEntry<'key'>): TidemarkError {
  const { recipients } = entry.body
  const [first] = recipients
  if (first === undefined) return error
  const made = madeAt(entry)
  return new TidemarkError(
    'KEY_WRONG',
    `${error.message}; recipients of that epoch${made === undefined ? '' : `, which began at ${made}`}, the newest last: ${recipients.join(', ')}`,
    {
      cause: error,
      next: 'the same command with --keys DIR, a folder whose restore side has the private key of the newest of them: a copy of the keys folder from before tidemark keys rotate does not have it',
    },
  )
}

/** Puts an object under a name that carries a nonce: an `exists` can only be our own lost answer, and is checked. */
export async function putNew(
  ledger: Ledger,
  name: string,
  chunks: readonly Buffer[],
  signal?: AbortSignal,
): Promise<void> {
  if ((await ledger.store.putIfAbsent(name, chunks, signal)) === 'created') return
  if (!isSame(storedAs(name, chunks), await ledger.store.digest(name)))
    throw new TidemarkError('WRITER_FENCED', `${name} exists with other content`)
}

/** As an entry names it. */
export function storedAs(name: string, pieces: readonly Buffer[]): StoredObject {
  const bytes = pieces.reduce((sum, piece) => sum + piece.length, 0)
  return { name, bytes: String(bytes), sha256: hashBytes(...pieces) }
}

/**
 * An object that the ledger names: complete and unaltered. Where it is not, whatever else the store knows under its name is
 * looked at, and what is right is put back.
 *
 * @throws TidemarkError OBJECT_MISSING, OBJECT_CORRUPT; what reading throws, where no other place has it either
 */
export async function fetchChecked({ store }: Pick<Ledger, 'store'>, object: StoredObject): Promise<Buffer> {
  let fault: TidemarkError
  try {
    const bytes = await store.get(object.name)
    const wrong = faultOf(object, bytes)
    if (wrong === undefined) return bytes
    fault = wrong
  } catch (error) {
    const known = asTidemarkError(error)
    if (known.code === 'INTERNAL' || known.code === 'INTERRUPTED') throw error
    fault =
      known.code === 'STORE_NOT_FOUND'
        ? new TidemarkError('OBJECT_MISSING', `${object.name} is gone from the store`)
        : known
  }
  if (store.alternatives !== undefined) {
    for await (const bytes of store.alternatives(object.name)) {
      if (faultOf(object, bytes) !== undefined) continue
      await store.repair?.(object.name, bytes)
      return bytes
    }
  }
  throw fault
}

/** Like `fetchChecked`, where the bytes themselves are not wanted. */
export async function proveObject(ledger: Pick<Ledger, 'store'>, object: StoredObject): Promise<void> {
  try {
    if (isSame(object, await ledger.store.digest(object.name))) return
  } catch (error) {
    const known = asTidemarkError(error)
    if (known.code === 'INTERNAL' || known.code === 'INTERRUPTED') throw error
  }
  // Looked at whole: what is wrong with it, and whether another place has it right.
  await fetchChecked(ledger, object)
}

export function isSame(object: StoredObject, digest: ObjectDigest): boolean {
  return digest.bytes === Number(object.bytes) && digest.sha256 === object.sha256
}

/** What is wrong with the bytes of an object that the ledger names. */
export function faultOf(object: StoredObject, bytes: Buffer): TidemarkError | undefined {
  if (bytes.length !== Number(object.bytes))
    return new TidemarkError(
      'OBJECT_CORRUPT',
      `${object.name} has ${bytes.length} bytes, the ledger says ${object.bytes}`,
    )
  if (hashBytes(bytes) !== object.sha256)
    return new TidemarkError(
      'OBJECT_CORRUPT',
      `${object.name} is not the object that the ledger names: its hash differs`,
    )
  return undefined
}
