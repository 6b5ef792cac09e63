/**
 * Checkpoints: written by a writer every so many entries, found by a reader in one listing of few names. The hint that is
 * found says a number and no more; what is trusted is the signed ledger entry of that number.
 */
import { TidemarkError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import {
  decodePage,
  decodeRoot,
  encodePage,
  encodeRoot,
  type PagedEntry,
  storedEntry,
} from '../formats/checkpoint.ts'
import { type EntryOf, hashBytes, type Signer, type StoredObject } from '../formats/ledger-entry.ts'
import {
  checkpointName,
  checkpointNumber,
  checkpointPrefix,
  pageName,
  rootName,
} from '../formats/object-name.ts'
import { Catalog } from './catalog.ts'
import { type Floor, isBelow } from './floor.ts'
import { fetchChecked, putNew } from './keyring.ts'
import type { AnyEntry } from './entry-reader.ts'
import type { Ledger } from './ledger.ts'
import type { ReadPage } from './segment-log.ts'

/** Older checkpoints that are tried where the newest one is damaged; then the ledger is read from its first entry. */
const TRIES = 3
/** Pages kept in memory: a scan goes through them once, in order. */
const KEPT_PAGES = 2

/** The catalog of the newest checkpoint, the ledger standing at its entry; or an empty one, at the ledger's beginning. */
export async function newestCheckpoint(ledger: Ledger): Promise<Catalog> {
  const readPage = pageReader(ledger)
  let left = TRIES
  for await (const { lineage, number } of hints(ledger)) {
    if (left-- === 0) break
    try {
      // Which lineage its number belongs to, only what it names itself will tell.
      const entry = await ledger.readEntry(number, lineage)
      if (entry?.body?.kind !== 'checkpoint') continue
      const root = decodeRoot(await fetchChecked(ledger, entry.body.root))
      const catalog = Catalog.restored(root, readPage)
      for (const promotion of catalog.promotions) ledger.lineages.learn(promotion.number, promotion.body)
      for (const change of catalog.signerChanges) ledger.signers.learn(change.number, change.body)
      ledger.startAt(entry)
      return catalog
    } catch (error) {
      // Perhaps by a signer of whom only the entries before it tell: reading on proves it, or names the damage.
      if (!isDamage(error) && !(error instanceof TidemarkError && error.code === 'LEDGER_BROKEN')) throw error
    }
  }
  return new Catalog(readPage)
}

/** The newest first, of the newest lineage first. */
async function* hints({
  store,
}: Ledger): AsyncGenerator<{ readonly lineage: number; readonly number: bigint }> {
  const found: string[][] = []
  for (let lineage = 1; found.length === lineage - 1; lineage++) {
    const names: string[] = []
    for await (const name of store.list(checkpointPrefix(lineage))) if (names.push(name) > TRIES) break
    if (names.length > 0) found.push(names)
  }
  for (const [i, names] of [...found.entries()].reverse()) {
    for (const name of names) {
      const number = checkpointNumber(name)
      if (number !== undefined) yield { lineage: i + 1, number }
    }
  }
}

/**
 * The ledger from its first entry on, each with what is wrong with what it says of others: a checkpoint must say what the
 * entries before it say.
 *
 * @param removed where the backup begins by now: what is below it is not looked for
 */
export async function* proveLedger(
  ledger: Ledger,
  removed: Floor | undefined,
): AsyncGenerator<{
  readonly entry: AnyEntry
  readonly faults: readonly { readonly object: string; readonly error: TidemarkError }[]
}> {
  const catalog = new Catalog(pageReader(ledger))
  for await (const entry of ledger.walk()) {
    const { body } = entry
    const faults =
      body?.kind === 'checkpoint' ? await checkpointFaults(ledger, catalog, entry, body, removed) : []
    catalog.apply(entry)
    yield { entry, faults }
  }
}

async function checkpointFaults(
  ledger: Ledger,
  catalog: Catalog,
  entry: AnyEntry,
  body: EntryOf<'checkpoint'>,
  removed: Floor | undefined,
): Promise<{ object: string; error: TidemarkError }[]> {
  const faults: { object: string; error: TidemarkError }[] = []
  const same = async (
    object: StoredObject,
    truth: Buffer,
    read: (bytes: Buffer) => unknown,
  ): Promise<void> => {
    if (isBelow(removed, object.name)) return
    try {
      // Both read by this version: what a field is by default may have come later.
      if (
        JSON.stringify(read(await fetchChecked(ledger, object)), bigintText) !==
        JSON.stringify(read(truth), bigintText)
      )
        throw new TidemarkError(
          'OBJECT_CORRUPT',
          `${object.name} says otherwise than the entries that it stands for`,
        )
    } catch (error) {
      if (!isDamage(error)) throw error
      faults.push({ object: object.name, error })
    }
  }
  for (const page of body.pages) {
    const unpaged =
      catalog.allGenerations.find((g) => g.facts.generation === page.generation)?.segments.unpaged ?? []
    await same(
      page.object,
      encodePage(
        unpaged.filter((held) => held.number >= BigInt(page.from) && held.number <= BigInt(page.to)),
      ),
      decodePage,
    )
  }
  await same(
    body.root,
    encodeRoot(catalog.root(entry.number - 1n, entry.previous ?? '', body.pages)),
    decodeRoot,
  )
  return faults
}

function bigintText(_: string, value: unknown): unknown {
  return typeof value === 'bigint' ? value.toString() : value
}

function pageReader(ledger: Ledger): ReadPage {
  const held = new Map<string, Promise<readonly PagedEntry[]>>()
  return (generation, { from, to, object }) => {
    let page = held.get(object.name)
    if (page === undefined) {
      page = fetchChecked(ledger, object)
        .then(decodePage)
        .catch((error: unknown) => {
          if (!isDamage(error)) throw error
          return fromEntries(ledger, generation, BigInt(from), BigInt(to))
        })
      page.catch(() => held.delete(object.name))
      held.set(object.name, page)
      for (const name of [...held.keys()].slice(0, -KEPT_PAGES)) held.delete(name)
    }
    return page
  }
}

/** What a damaged page held: slowly, from the ledger itself. Which entries count depends on the claims before them. */
async function fromEntries(
  ledger: Ledger,
  generation: number,
  from: bigint,
  to: bigint,
): Promise<readonly PagedEntry[]> {
  const catalog = new Catalog(() => Promise.resolve([]))
  for await (const entry of ledger.walk(to)) if (entry.body?.kind !== 'checkpoint') catalog.apply(entry)
  const log = catalog.allGenerations.find((g) => g.facts.generation === generation)?.segments
  return (log?.unpaged ?? []).filter((entry) => entry.number >= from)
}

/** Everything that checkpoints say stands in the entries too: reading more of them proves more, and `verify` names the damage. */
function isDamage(error: unknown): error is TidemarkError {
  return (
    error instanceof TidemarkError && (error.code === 'OBJECT_CORRUPT' || error.code === 'OBJECT_MISSING')
  )
}

/** Somebody appended meanwhile: what was written would no longer be the whole truth. */
class Overtaken extends Error {}

/** Pages, then the root, then the entry, then the hint: each is of use only with what comes before it. */
export async function writeCheckpoint(
  ledger: Ledger,
  catalog: Catalog,
  signer: Signer,
  nonce: () => string,
): Promise<void> {
  const number = ledger.headNumber
  const hash = ledger.headHash
  const files: { readonly name: string; readonly bytes: Buffer }[] = []
  const add = (name: string, bytes: Buffer): StoredObject => {
    files.push({ name, bytes })
    return { name, bytes: String(bytes.length), sha256: hashBytes(bytes) }
  }
  const pages: EntryOf<'checkpoint'>['pages'] = []
  for (const generation of catalog.allGenerations) {
    for (const entries of inPages(generation.segments.unpaged)) {
      const from = entries[0]!.number
      const to = entries.at(-1)!.number
      pages.push({
        generation: generation.facts.generation,
        from: from.toString(),
        to: to.toString(),
        object: add(pageName(ledger.lineages.current, from, to, nonce()), encodePage(entries)),
      })
    }
  }
  const root = add(
    rootName(ledger.lineages.current, number, nonce()),
    encodeRoot(catalog.root(number, hash, pages)),
  )
  for (const file of files) await putNew(ledger, file.name, [file.bytes])
  try {
    const entry = await ledger.append({ kind: 'checkpoint', root, pages }, signer, () => {
      if (ledger.headNumber !== number) throw new Overtaken()
    })
    await putNew(ledger, checkpointName(ledger.lineages.current, entry.number), [
      Buffer.from(`{"number":"${entry.number}"}\n`, 'utf8'),
    ])
  } catch (error) {
    // What was put is named by nothing and goes with the next sweep.
    if (!(error instanceof Overtaken)) throw error
  }
}

function inPages(entries: readonly PagedEntry[]): PagedEntry[][] {
  const pages: PagedEntry[][] = []
  let bytes = 0
  for (const entry of entries) {
    const size = JSON.stringify(storedEntry(entry)).length
    if (pages.length === 0 || bytes + size > LIMITS.pageBytes) {
      pages.push([])
      bytes = 0
    }
    pages.at(-1)!.push(entry)
    bytes += size
  }
  return pages
}
