/**
 * Checkpoints: written by a writer every so many entries, found by a reader in one listing of few names. The hint that is
 * found says a number and no more; what is trusted is the signed ledger entry of that number.
 */
import { TidemarkError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import {
  type CheckpointRoot,
  contentOf,
  decodePage,
  decodeRoot,
  encodePage,
  encodeRoot,
  type PagedEntry,
  storedEntry,
} from '../formats/checkpoint.ts'
import { type StoredObject } from '../formats/entry-fields.ts'
import { type EntryOf, hashBytes, isSameBody } from '../formats/ledger-entry.ts'
import type { Signer } from '../formats/signed-line.ts'
import {
  checkpointName,
  checkpointNumber,
  checkpointPrefix,
  pageName,
  proofName,
  proofPrefix,
  rootName,
} from '../formats/object-name.ts'
import { Catalog } from './catalog.ts'
import { type Floor, isBelow } from './floor.ts'
import { fetchChecked, putNew } from './keyring.ts'
import { type AnyEntry, isBroken } from './entry-reader.ts'
import type { Ledger } from './ledger.ts'
import type { ReadPage } from './segment-log.ts'
import { isKeepers } from './signers.ts'

/** Older checkpoints that are tried where the newest one is damaged; then the ledger is read from its first entry. */
const TRIES = 3
/** Pages kept in memory: a scan goes through them once, in order. */
const KEPT_PAGES = 2

/**
 * Whose word is taken for what lies behind a checkpoint: every signer's, which is enough to read; or a keeper's alone, who had proven it. A
 * writer is the machine that is most exposed: what takes away must not rest on what it says of what others said.
 */
export type Trusting = 'signers' | 'keepers'

/** The catalog of the newest checkpoint, the ledger standing at its entry; or an empty one, at the ledger's beginning. */
export async function newestCheckpoint(ledger: Ledger, trusting: Trusting = 'signers'): Promise<Catalog> {
  const readPage = pageReader(ledger, trusting)
  const prefix = trusting === 'keepers' ? proofPrefix : checkpointPrefix
  let left = TRIES
  for await (const { lineage, number } of hints(ledger, prefix)) {
    // What an overtaken lineage says of itself is true, and nobody's.
    if (ledger.isOrphan(lineage, number)) continue
    if (left-- === 0) break
    try {
      // Which lineage its number belongs to, only what it names itself will tell.
      const entry = await ledger.readEntry(number, lineage)
      if (entry?.body?.kind !== 'checkpoint') continue
      if (trusting === 'keepers' && !ledger.signers.isKeeper(entry.signer)) continue
      const root = decodeRoot(await fetchChecked(ledger, entry.body.root))
      if (BigInt(root.number) !== number - 1n || root.hash !== entry.previous)
        throw new TidemarkError('OBJECT_CORRUPT', `${entry.body.root.name} ends before checkpoint ${number}`)
      await proveKeepersWord(ledger, root)
      const catalog = Catalog.restored(root, readPage)
      ledger.startAt(entry)
      return catalog
    } catch (error) {
      ledger.lineages.forget()
      // Perhaps by a signer of whom only the entries before it tell: reading on proves it, or names the damage.
      if (!isDamage(error) && !isBroken(error)) throw error
    }
  }
  return new Catalog(readPage)
}

/**
 * What only a keeper may say is taken from the entry that a keeper signed, and not from a root: whoever took a writer's key can write a
 * root that says anything.
 *
 * @throws TidemarkError OBJECT_CORRUPT where no keeper said so, LEDGER_BROKEN
 */
async function proveKeepersWord(ledger: Ledger, root: CheckpointRoot): Promise<void> {
  for (const { number, writtenAt, body } of root.entries) {
    const isLineage = body.kind === 'lineage' || body.kind === 'detour'
    if (!isKeepers(body.kind) && !isLineage) continue
    const entry = await ledger.readEntry(BigInt(number), isLineage ? body.lineage : undefined)
    if (entry?.body === undefined || entry.writtenAt !== writtenAt || !isSameBody(entry.body, body))
      throw new TidemarkError(
        'OBJECT_CORRUPT',
        `a checkpoint of the ledger says of entry ${number} what nobody signed who may`,
      )
    if (isLineage) ledger.lineages.learn(entry.number, body)
    if (body.kind === 'signers') ledger.signers.learn(entry.number, body)
  }
}

/** The newest first, of the newest lineage first. */
async function* hints(
  { store }: Ledger,
  prefix: (lineage: number) => string,
): AsyncGenerator<{ readonly lineage: number; readonly number: bigint }> {
  const found: string[][] = []
  // A lineage without a hint is followed by none, or by one with.
  for (let lineage = 1, empty = 0; empty < 2; lineage++) {
    const names: string[] = []
    for await (const name of store.list(prefix(lineage))) if (names.push(name) > TRIES) break
    found.push(names)
    empty = names.length > 0 ? 0 : empty + 1
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
      if (!isDamage(error) && !isBroken(error)) throw error
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
    meaningOf,
  )
  return faults
}

/** What a reader of this version takes from a root: one of before may say the same otherwise. */
function meaningOf(bytes: Buffer): unknown {
  const root = decodeRoot(bytes)
  // Damage is no part of what the backup says: an older writer passes over it, and leaves it out.
  const {
    entries,
    generations,
    damage: _,
    ...rest
  } = Catalog.restored(root, () => Promise.resolve([])).root(BigInt(root.number), root.hash, [])
  return {
    ...rest,
    // Those of restores went by the times of entries once.
    entries: entries
      .filter(({ body }) => body.kind !== 'hold' || body.purpose !== 'restore')
      .map((entry) => (entry.body.kind === 'key' ? { ...entry, body: keyOfBefore(entry.body) } : entry)),
    generations: generations.map((one) => ({
      ...one,
      pages: one.pages.map(({ content: __, ...page }) => page),
    })),
  }
}

/** An older writer passes over what came later, and leaves it out. */
function keyOfBefore({ kind, key, object, recipients }: EntryOf<'key'>): EntryOf<'key'> {
  return { kind, key, object, recipients }
}

function bigintText(_: string, value: unknown): unknown {
  return typeof value === 'bigint' ? value.toString() : value
}

/** @param trusting whether a page may say otherwise than the entries that it was made of, by whoever was trusted to sum them up */
function pageReader(ledger: Ledger, trusting: Trusting = 'signers'): ReadPage {
  const held = new Map<string, Promise<readonly PagedEntry[]>>()
  return (generation, { from, to, object, content }) => {
    let page = held.get(object.name)
    if (page === undefined) {
      page = fetchChecked(ledger, object)
        .then((bytes) => {
          const entries = decodePage(bytes)
          if (trusting === 'keepers' && content !== contentOf(entries))
            throw new TidemarkError('OBJECT_CORRUPT', `${object.name} says otherwise than its entries`)
          return entries
        })
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

/** Pages, then the root, then the entry, then the hint: each is of use only with what comes before it. False where somebody was faster. */
export async function writeCheckpoint(
  ledger: Ledger,
  catalog: Catalog,
  signer: Signer,
  nonce: () => string,
): Promise<boolean> {
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
    for (const hint of hintNames(ledger, entry))
      await putNew(ledger, hint, [Buffer.from(`{"number":"${entry.number}"}\n`, 'utf8')])
    return true
  } catch (error) {
    // What was put is named by nothing and goes with the next sweep.
    if (!(error instanceof Overtaken)) throw error
    return false
  }
}

/** By which a checkpoint is found. */
export function hintNames(ledger: Ledger, { number, signer }: AnyEntry): string[] {
  const lineage = ledger.lineages.at(number)
  return [
    checkpointName(lineage, number),
    ...(ledger.signers.isKeeper(signer) ? [proofName(lineage, number)] : []),
  ]
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
