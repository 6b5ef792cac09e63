/**
 * Fills a copy in the ledger's order: of each entry first what it names, then the entry itself. Wherever it stops, the copy is a
 * whole backup up to its last entry, and goes on from there.
 */
import { TidemarkError } from '../core/errors.ts'
import type { Clock } from '../core/clock.ts'
import type { ObjectStore } from '../core/ports/object-store.ts'
import { retrying } from '../core/retry.ts'
import { SideBySide } from '../core/side-by-side.ts'
import { type StoredObject } from '../formats/entry-fields.ts'
import { decodeEntry } from '../formats/ledger-entry.ts'
import { COPY_MARK, ledgerName } from '../formats/object-name.ts'
import { hintNames } from './checkpoint.ts'
import { putSame } from './copy-set.ts'
import { type Floor, isBelow, laterFloor } from './floor.ts'
import { fetchChecked, isSame } from './keyring.ts'
import type { AnyEntry } from './entry-reader.ts'
import type { Ledger } from './ledger.ts'
import { endOf, headOf } from './lineages.ts'
import { namedObjects } from './named-objects.ts'
import { findOrphans } from './orphans.ts'
import { readTrim } from './trim.ts'

export interface MirrorOptions {
  /** Read from the primary, with the other copies behind it. */
  readonly ledger: Ledger
  readonly to: ObjectStore
  /** Of the backup: stands in the copy. */
  readonly stream: string
  /** Bytes a second; undefined for as fast as it goes. */
  readonly bandwidth: number | undefined
  readonly clock: Clock
  readonly signal: AbortSignal
  /** The copy is known to be whole up to here; else it is looked at. */
  readonly from?: bigint | undefined
  /** Where the backup begins by now: what is below it is gone, or goes, and is not brought. */
  readonly floor: Floor | undefined
  /** The last entry that is wanted; the ledger's head where it is not given. */
  readonly until?: bigint
  onEntry?(progress: { readonly number: bigint; readonly bytes: number }): void
}

/** Objects that are under way at once, and their bytes. */
const TOGETHER = 8
const TOGETHER_BYTES = 64 * 1024 * 1024
/** Between tries of one object. */
const PAUSES_MS = [100, 300, 900, 2700]
/** Entries whose objects are brought together. */
const WINDOW = 16

/**
 * Brings a copy to the primary's head as the ledger knows it now, or to an entry before it. Returns the copy's head.
 *
 * @throws TidemarkError COPY_DIFFERS where the copy's entries are not the primary's, COPY_AHEAD where it has more of them,
 *   STORE_FOREIGN and STORE_NOT_EMPTY where the store belongs to something else
 */
export async function mirror(options: MirrorOptions): Promise<bigint> {
  const { ledger, to, signal, clock } = options
  const until = options.until ?? ledger.headNumber
  let from = options.from
  if (from === undefined) {
    await admit(ledger, to, options.stream)
    // Asked for an entry, we may be inside an append, which the ledger's own refresh would wait for.
    const isAppending = options.until !== undefined && options.until > 0n
    await refuseLaterLineage(ledger, to, isAppending)
    const head = await headOf(to, until, (number) => ledger.lineages.nameOf(number))
    if (options.until === undefined) await compareHead(ledger, to, head)
    else await compareEntry(ledger, to, head < until ? head : until)
    from = head
  } else await refusePromoted(ledger, to)
  // What comes behind a known place lies above every floor.
  const floor = laterFloor(
    options.floor,
    options.from === undefined ? await readTrim(to, ledger, options.stream) : undefined,
  )
  const pace = new Pace(clock, options.bandwidth, signal)
  // What an earlier try has brought is asked for until something of it is missing: then all that follows is.
  let isFresh = options.from !== undefined
  /** A bad line breaks now and then: what was begun is tried again before everything is. */
  const patiently = <T>(action: () => Promise<T>): Promise<T> =>
    retrying(action, {
      clock,
      pauses: PAUSES_MS,
      passes: ({ code }) => code === 'STORE_UNREACHABLE',
      signal,
    })
  const bring = async ({ entry, file }: Fetched): Promise<number> => {
    let bytes = file.length
    for (const { object } of namedObjects(entry)) {
      if (isBelow(floor, object.name)) continue
      await together.begin(Number(object.bytes), async () => {
        if (!isFresh) {
          if (await patiently(() => hasRight(to, object))) return
          isFresh = true
        }
        const content = await fetchChecked(ledger, object)
        await pace.take(content.length)
        // Its name carries a nonce: something else under it is damage.
        await patiently(() => putRight(to, object.name, content, () => true, signal))
      })
      bytes += Number(object.bytes)
    }
    return bytes
  }
  const place = async ({ entry, file, name }: Fetched, bytes: number): Promise<void> => {
    const { number } = entry
    await pace.take(file.length)
    await patiently(() => putRight(to, name, file, (there) => !isSigned(there, number, ledger), signal))
    if (entry.body?.kind === 'checkpoint')
      for (const hint of hintNames(ledger, entry))
        await patiently(() => putSame(to, hint, [Buffer.from(`{"number":"${number}"}\n`, 'utf8')], signal))
    options.onEntry?.({ number, bytes })
  }
  const together = new SideBySide(TOGETHER, TOGETHER_BYTES)
  // Entries go in one by one, behind all that they name; meanwhile the objects of the next ones are on their way.
  let placing: Promise<void> = Promise.resolve()
  try {
    for (let first = from + 1n; first <= until; first += BigInt(WINDOW)) {
      signal.throwIfAborted()
      const numbers = Array.from({ length: WINDOW }, (_, i) => first + BigInt(i)).filter(
        (number) => number <= until,
      )
      const fetched = await Promise.all(numbers.map((number) => fetchEntry(ledger, number)))
      const bytes: number[] = []
      for (const one of fetched) bytes.push(await bring(one))
      await together.all()
      await placing
      placing = fetched.reduce(
        (before, one, i) => before.then(() => place(one, bytes[i]!)),
        Promise.resolve(),
      )
      placing.catch(() => undefined)
    }
    await placing
    return until
  } finally {
    // Whoever tries again finds nothing of this try still under way.
    await Promise.allSettled([together.all(), placing])
  }
}

interface Fetched {
  readonly entry: AnyEntry
  readonly file: Buffer
  readonly name: string
}

async function fetchEntry(ledger: Ledger, number: bigint): Promise<Fetched> {
  const name = ledger.lineages.nameOf(number)
  const file = await ledger.store.get(name)
  return { entry: decodeEntry(file, number, undefined, ledger.signers), file, name }
}

/** By its content: an upload that was cut short, or a disk that failed, may have left something else of the same size. */
async function hasRight(to: ObjectStore, object: StoredObject): Promise<boolean> {
  if ((await to.size(object.name)) !== Number(object.bytes)) return false
  return isSame(object, await to.digest(object.name))
}

/** @param isDamage whether what the copy has instead may be replaced */
async function putRight(
  to: ObjectStore,
  name: string,
  bytes: Buffer,
  isDamage: (there: Buffer) => boolean,
  signal: AbortSignal,
): Promise<void> {
  try {
    await putSame(to, name, [bytes], signal)
  } catch (error) {
    if (!(error instanceof TidemarkError) || error.code !== 'COPY_DIFFERS' || !isDamage(await to.get(name)))
      throw error
    await to.remove(name)
    await putSame(to, name, [bytes], signal)
  }
}

/**
 * A store is filled that is empty, or that is this backup's already: its mark says so, or its genesis entry. What another
 * installation signed looks damaged to us, and would be replaced.
 */
async function admit(ledger: Ledger, to: ObjectStore, stream: string): Promise<void> {
  const mark = Buffer.from(`{"stream":"${stream}"}\n`, 'utf8')
  const held = await there(to, COPY_MARK)
  if (held?.equals(mark) === true) return
  if (held !== undefined) throw new TidemarkError('STORE_FOREIGN', `${to.place} is a copy of another backup`)
  const first = ledgerName(1, 1n)
  const genesis = await there(to, first)
  if (genesis !== undefined) {
    if (!genesis.equals(await ledger.store.get(first)))
      throw new TidemarkError('STORE_FOREIGN', `${to.place} holds another backup`)
    // It was the primary once; not where the primary gets back what it lost, from a copy.
    if (!ledger.isCopy) await putSame(to, COPY_MARK, [mark])
    return
  }
  for await (const name of to.list('')) {
    // Another writer of this backup was faster, and has begun to fill it.
    if ((await there(to, COPY_MARK))?.equals(mark) === true) return
    throw new TidemarkError('STORE_NOT_EMPTY', `${to.place} already holds ${name}`)
  }
  await putSame(to, COPY_MARK, [mark])
}

async function there(store: ObjectStore, name: string): Promise<Buffer | undefined> {
  try {
    return await store.get(name)
  } catch (error) {
    if (error instanceof TidemarkError && error.code === 'STORE_NOT_FOUND') return undefined
    throw error
  }
}

/**
 * A copy that is followed may be promoted meanwhile: its mark goes then, which is one request to ask for.
 *
 * @throws TidemarkError STORE_SUPERSEDED, COPY_DIFFERS
 */
export async function refusePromoted(ledger: Ledger, copy: ObjectStore): Promise<void> {
  if ((await copy.size(COPY_MARK)) === undefined) await refuseLaterLineage(ledger, copy, true)
}

/**
 * A store that has a later lineage than we know is no copy of ours: it was promoted. One that has orphans is not yet. Where our own store
 * has that lineage too, another writer went around garbage, and it is we who have not read it yet.
 *
 * @param isAppending whether this may be called by an append, which looks by itself what took its number
 * @throws TidemarkError STORE_SUPERSEDED, COPY_DIFFERS
 */
export async function refuseLaterLineage(
  ledger: Ledger,
  store: ObjectStore,
  isAppending = false,
): Promise<void> {
  const { lineage } = await endOf(store, ledger.headNumber)
  if (lineage > ledger.lineages.current && !isAppending) await ledger.refresh()
  if (lineage > ledger.lineages.current)
    throw new TidemarkError(
      'STORE_SUPERSEDED',
      `${store.place} was promoted (lineage ${lineage}); ${ledger.store.place} is no longer the primary store`,
    )
  const orphans = await findOrphans(ledger, store)
  if (orphans !== undefined)
    throw new TidemarkError(
      'COPY_DIFFERS',
      `${store.place} has entries ${orphans.from} to ${orphans.to} of lineage ${orphans.lineage}, which ended with entry ${orphans.from - 1n}`,
      { next: `tidemark copy --to the same store  (sets them aside and fills it), or tidemark up` },
    )
}

/** A copy's last entry is the primary's of that number. @throws TidemarkError COPY_DIFFERS, COPY_AHEAD */
export async function compareHead(ledger: Ledger, copy: ObjectStore, head: bigint): Promise<void> {
  if (head === 0n) return
  if (head > ledger.headNumber) await ledger.refresh()
  if (head > ledger.headNumber)
    throw new TidemarkError(
      'COPY_AHEAD',
      `the copy ${copy.place} has ledger entry ${head}, the primary store ${ledger.store.place} ends at entry ${ledger.headNumber}`,
    )
  await compareEntry(ledger, copy, head)
}

/** @throws TidemarkError COPY_DIFFERS */
async function compareEntry(ledger: Ledger, copy: ObjectStore, head: bigint): Promise<void> {
  for (let number = head; number > 0n; number--) {
    const name = ledger.lineages.nameOf(number)
    const [there, here] = await Promise.all([copy.get(name), ledger.store.get(name)])
    if (there.equals(here)) return
    // Signed: another entry. Not signed: damaged, which scrubbing mends; the one before it tells.
    if (isSigned(there, number, ledger))
      throw new TidemarkError(
        'COPY_DIFFERS',
        `ledger entry ${number} in the copy ${copy.place} is another one than in the primary store`,
      )
  }
}

function isSigned(file: Buffer, number: bigint, ledger: Ledger): boolean {
  try {
    decodeEntry(file, number, undefined, ledger.signers)
    return true
  } catch {
    return false
  }
}

/** Spreads bytes over time. */
class Pace {
  readonly #clock: Clock
  readonly #bandwidth: number | undefined
  readonly #signal: AbortSignal
  #free: number

  constructor(clock: Clock, bandwidth: number | undefined, signal: AbortSignal) {
    this.#clock = clock
    this.#bandwidth = bandwidth
    this.#signal = signal
    this.#free = clock.elapsed()
  }

  /** Resolves when so many bytes may be sent. */
  async take(bytes: number): Promise<void> {
    if (this.#bandwidth === undefined) return
    const now = this.#clock.elapsed()
    const start = Math.max(now, this.#free)
    this.#free = start + (bytes / this.#bandwidth) * 1000
    if (start > now) await this.#clock.sleep(start - now, this.#signal)
  }
}
