/** What a store must be able to do before a backup rests on it: asked of the store itself, with an object of no meaning. */
import { systemClock, systemRandomness } from '../core/clock.ts'
import { asTidemarkError } from '../core/errors.ts'
import type { Finding } from '../core/finding.ts'
import type { ObjectStore } from '../core/ports/object-store.ts'

/** Signatures are refused at 15 minutes; anything near it is a clock that is not kept. */
const SKEW_MS = 60_000

export async function examineStore(
  store: ObjectStore,
  use: 'primary' | 'synchronous' | 'mirrored',
): Promise<Finding[]> {
  const findings: Finding[] = []
  const say = (level: Finding['level'], code: string, what: string, fix: string): void =>
    void findings.push({ level, code, what: `${store.place}: ${what}`, fix })
  const name = `probe/${systemRandomness.bytes(12).toString('hex')}`
  const [first, second] = [Buffer.from('first'), Buffer.from('second')]
  try {
    const created = await store.putIfAbsent(name, [first])
    const again = await store.putIfAbsent(name, [second])
    const there = await store.get(name)
    if (created !== 'created')
      say('refuse', 'STORE_UNSAFE', 'says that an object exists that nobody has put', 'use another store')
    else if (again !== 'exists' || !there.equals(first))
      say(
        use === 'primary' ? 'refuse' : 'warn',
        'STORE_UNSAFE',
        "replaces an object although only a new one was to be made: two writers would overwrite each other's entries",
        'use a store with conditional puts (If-None-Match) as the primary one',
      )
    else if ((await store.size(name)) !== first.length)
      say('refuse', 'STORE_UNSAFE', 'does not tell the size of what was just put', 'use another store')
    await store.remove(name)
    const facts = await store.facts?.()
    if (facts?.now !== undefined && Math.abs(facts.now - systemClock.now()) > SKEW_MS)
      say(
        'warn',
        'STORE_CLOCK',
        `its clock and this machine's differ by ${Math.round(Math.abs(facts.now - systemClock.now()) / 1000)} s: requests may be refused, and nothing is pruned`,
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
  } catch (error) {
    const known = asTidemarkError(error)
    if (known.code === 'INTERNAL') throw error
    const level = use === 'mirrored' ? 'warn' : 'refuse'
    findings.push({ level, code: known.code, what: known.message, fix: known.next })
  }
  return findings
}
