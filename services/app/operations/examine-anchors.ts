/** Whether anchors can be written: one that only answers keeps nothing. */
import { systemRandomness } from '../../core/clock.ts'
import { asTidemarkError } from '../../core/errors.ts'
import type { Finding } from '../../core/finding.ts'
import { PROBES } from '../../formats/object-name.ts'
import type { AnchorReport } from '../../repository/anchors.ts'
import { openStore } from '../wiring/open-backup.ts'

/** @param reports of the comparison: what cannot be read is told already */
export async function examineAnchors(
  urls: readonly string[],
  reports: readonly AnchorReport[],
): Promise<Finding[]> {
  const findings: Finding[] = []
  for (const url of urls) {
    const store = await openStore(url)
    if (reports.some(({ place, outcome }) => place === store.place && outcome === 'unreachable')) continue
    const name = `${PROBES}${systemRandomness.bytes(12).toString('hex')}`
    try {
      await store.putIfAbsent(name, [Buffer.from('tidemark')])
    } catch (error) {
      const known = asTidemarkError(error)
      if (known.code === 'INTERNAL') throw error
      findings.push({
        level: 'warn',
        code: 'ANCHOR_UNWRITABLE',
        what: `the anchor in ${store.place} cannot be written (${known.code}): ${known.message}`,
        fix: 'make the place writable for the account of tidemark up, or name another one under anchors: in tidemark.yaml',
      })
      continue
    }
    // Where nothing may be taken away, a few bytes stay.
    await store.remove(name).catch((error: unknown) => {
      if (asTidemarkError(error).code === 'INTERNAL') throw error
    })
  }
  return findings
}
