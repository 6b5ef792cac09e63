/** Which database is protected, and what a promotion may do by itself. */
import { z } from 'zod'
import type { SourceOrigin } from '../../core/ports/source.ts'

const failover = z.enum(['ask', 'automatic']).default('ask').meta({
  description:
    'a failover that left the slot behind: `ask` ends `up` (it may be a copy of the source), `automatic` begins a new generation where the timeline advanced. Only where the address always leads to the primary',
})

export const LARGEST_ROW =
  'rows that the server sends with more bytes are not taken: their table has a gap until they are gone or this is raised (an UPDATE under REPLICA IDENTITY FULL sends the old and the new row). Memory for two of them is needed, and for as much again beside a base. 1MiB to 1GiB; without it, a quarter of what the machine or the container has beyond 512MiB'

export const sourceFields = {
  slot: z.string().regex(/^[a-z0-9_]{1,63}$/),
  publication: z.string().min(1).max(63),
  failover,
}

export interface SourceSettings {
  readonly url: string
  /** What is to be made and read there: names of the engine's own. */
  readonly names: SourceOrigin
  /** A slot that a promotion left behind: `ask` where it is not given. */
  readonly failover?: z.infer<typeof failover>
  /** Bytes; what this machine has room for where it is not given. */
  readonly largestRow?: number | undefined
}

export function sourceSettings(
  read: { readonly slot: string; readonly publication: string } & Required<Pick<SourceSettings, 'failover'>> &
    Pick<SourceSettings, 'largestRow'>,
  url: string,
): SourceSettings {
  const { slot, publication, failover, largestRow } = read
  return { url, names: { slot, publication }, failover, largestRow }
}
