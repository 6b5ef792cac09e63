/** Faults of PostgreSQL itself that can cost changes, told by the server's version: nothing here can work around them. */
import type { Finding } from '../../../core/finding.ts'

/** By major version: the first minor that tells open transactions of a changed publication, and the one that mends what that cost in memory. */
const STALE_PUBLICATION: Readonly<Record<number, readonly [number, number]>> = {
  14: [18, 19],
  15: [13, 14],
  16: [9, 10],
  17: [5, 6],
}

/** @param version `server_version_num` */
export function serverFaults(version: number): Finding[] {
  const major = Math.floor(version / 10_000)
  const minor = version % 10_000
  const [mended, settled] = STALE_PUBLICATION[major] ?? [0, 0]
  if (minor >= mended) return []
  return [
    {
      level: 'warn',
      code: 'SERVER_FAULT',
      what: `PostgreSQL ${major}.${minor} may read changes of transactions that are open while a publication or a type changes by what it was before: changes of a table that is published then can be missing from the stream, unseen`,
      fix: `upgrade the server to ${major}.${settled} or a later minor version (${major}.${mended} mends this, ${major}.${settled} what the mend cost in memory)`,
    },
  ]
}
