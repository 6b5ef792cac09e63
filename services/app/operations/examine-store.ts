/** What a store must be able to do before a backup rests on it: asked of the store itself, with objects of no meaning. */
import { systemClock, systemRandomness } from '../../core/clock.ts'
import { asTidemarkError } from '../../core/errors.ts'
import type { Finding } from '../../core/finding.ts'
import type { KeptObject, ObjectStore, StoreFacts } from '../../core/ports/object-store.ts'
import { PROBES } from '../../formats/object-name.ts'
import { raceStore } from './race-store.ts'

/** Signatures are refused at 15 minutes; anything near it is a clock that is not kept. */
const SKEW_MS = 60_000
/** A service that is wrong in every third race is accepted once in a million times; where one machine's kernel decides, a few tell as much. */
const ROUNDS = { thorough: 30, quick: 4 }

export type StoreUse = 'primary' | 'synchronous' | 'mirrored'
type Say = (level: Finding['level'], code: string, what: string, fix: string) => void

/** @param care `thorough` before the first use; `quick` leaves at most four small objects where nothing can be taken away */
export async function examineStore(
  store: ObjectStore,
  use: StoreUse,
  care: 'thorough' | 'quick' = 'quick',
): Promise<Finding[]> {
  const findings: Finding[] = []
  const say: Say = (level, code, what, fix) =>
    void findings.push({ level, code, what: `${store.place}: ${what}`, fix })
  const folder = `${PROBES}${systemRandomness.bytes(12).toString('hex')}`
  const rounds = store.race === undefined ? ROUNDS.quick : ROUNDS[care]
  const used: string[] = []
  try {
    const facts = await store.facts?.()
    try {
      await examineCreates(store, use, newNames(folder, rounds, used), say)
      await examineListings(store, folder, facts, say)
    } finally {
      await takeAway(store, folder, used, facts)
    }
    examineFacts(store, facts, say)
  } catch (error) {
    const known = asTidemarkError(error)
    if (known.code === 'INTERNAL') throw error
    const level = use === 'mirrored' ? 'warn' : 'refuse'
    findings.push({ level, code: known.code, what: known.message, fix: known.next })
  }
  return findings
}

interface NewNames {
  readonly rounds: number
  /** One that nobody used before. */
  readonly next: () => string
}

function newNames(folder: string, rounds: number, used: string[]): NewNames {
  return {
    rounds,
    next: () => {
      used.push(`${folder}/${used.length}`)
      return used.at(-1)!
    },
  }
}

async function examineCreates(
  store: ObjectStore,
  use: StoreUse,
  { rounds, next }: NewNames,
  say: Say,
): Promise<void> {
  // A copy is filled by one writer, from what is decided already.
  const level = use === 'primary' ? 'refuse' : 'warn'
  const safe =
    'use a store with conditional puts (If-None-Match) that hold in a race as the primary one: most services have them'
  const verdict = await raceStore(store, rounds, next)
  if (verdict.kind === 'unsafe')
    return say(
      level,
      'STORE_UNSAFE',
      `${verdict.what}: two writers would overwrite each other's entries`,
      safe,
    )
  if (verdict.kind === 'untried')
    return say(
      level,
      'STORE_UNTRIED',
      `${verdict.what}, twice: whether two writers could overwrite each other's entries could not be tried`,
      'the same command again when the store is less busy',
    )
  const { name } = verdict
  const before = await store.get(name)
  const again = await store.putIfAbsent(name, [Buffer.from('again')])
  if (again !== 'exists' || !(await store.get(name)).equals(before))
    say(
      level,
      'STORE_UNSAFE',
      "replaces an object although only a new one was to be made: two writers would overwrite each other's entries",
      safe,
    )
  else if ((await store.size(name)) !== before.length)
    say('refuse', 'STORE_UNSAFE', 'does not tell the size of what was just put', 'use another store')
}

/** What is to be taken away one day has to be listed: where a store keeps versions, by them. */
async function examineListings(
  store: ObjectStore,
  folder: string,
  facts: StoreFacts | undefined,
  say: Say,
): Promise<void> {
  const listed = new Set<string>()
  for await (const name of store.list(`${folder}/`)) listed.add(name)
  const versioned = new Set<string>()
  const plain = new Set<string>()
  for await (const { name, version } of store.kept(`${folder}/`))
    (version === undefined ? plain : versioned).add(name)
  const missing = [...listed].filter((name) => !versioned.has(name) && !plain.has(name))
  if (missing.length > 0)
    say(
      'warn',
      'STORE_LISTS_LESS',
      `its listing of versions lacks ${missing.length} of ${listed.size} objects that are there: prune cannot take away what it does not see`,
      'use another version of its server, or remove what is old by a rule of the bucket',
    )
  if (facts?.versioning === true && versioned.size === 0 && listed.size > 0)
    say(
      'warn',
      'STORE_HIDES_VERSIONS',
      'keeps older versions and lists none of them to these credentials: what prune takes away stays there, hidden, and still takes room',
      'give the credentials the right to list versions (s3:ListBucketVersions) and to delete them (s3:DeleteObjectVersion), or let a rule of the bucket remove them',
    )
}

function examineFacts(store: ObjectStore, facts: StoreFacts | undefined, say: Say): void {
  const now = systemClock.now()
  if (facts?.now !== undefined && Math.abs(facts.now - now) > SKEW_MS)
    say(
      'warn',
      'STORE_CLOCK',
      `its clock and this machine's differ by ${Math.round(Math.abs(facts.now - now) / 1000)} s: requests may be refused, and nothing is pruned`,
      'keep both clocks by NTP',
    )
  if (store.lock !== undefined && facts?.objectLock !== true)
    say(
      'refuse',
      'STORE_NO_LOCK',
      'objects are to be locked (lock= in its URL), and the bucket has no object lock',
      'make a bucket with object lock (it cannot be turned on later everywhere), or take lock= out of the URL',
    )
  if (facts !== undefined && !facts.versioning && !facts.objectLock)
    say(
      'warn',
      'STORE_UNPROTECTED',
      "keeps no older versions and locks nothing: who has the writer's credentials can delete the backup",
      'turn on versioning or object lock for the bucket, or keep a copy that the writer cannot delete',
    )
}

/** As far as the store lets: where objects stay as versions or are locked, a few small ones are left. */
async function takeAway(
  store: ObjectStore,
  folder: string,
  used: readonly string[],
  facts: StoreFacts | undefined,
): Promise<void> {
  if (facts?.versioning === true || facts?.objectLock === true) {
    const left = new Set<string>()
    const objects: KeptObject[] = []
    for await (const object of store.kept(`${folder}/`)) objects.push(object)
    for (const object of objects) if (!(await isPurged(store, object))) left.add(object.name)
    for (const name of left) await store.remove(name)
  } else await Promise.all(used.map((name) => store.remove(name)))
}

async function isPurged(store: ObjectStore, object: KeptObject): Promise<boolean> {
  try {
    return (await store.purge(object)) === 'purged'
  } catch (error) {
    // Versions may be another right than objects.
    if (asTidemarkError(error).code === 'STORE_REFUSED') return false
    throw error
  }
}
