/** Whether what the source commits becomes durable: what `doctor` says of it, by the rule of `status --check`. */
import type { Finding } from '../../core/finding.ts'
import { LIMITS } from '../../core/limits.ts'
import type { Repository } from '../../repository/repository.ts'
import type { Config } from '../config/config.ts'
import { openAdmin } from '../wiring/source-admin.ts'
import { overdue } from './protection.ts'
import { askSource } from './status.ts'

/** Between its tries a job has no connection: longer than the longest pause, and often enough to see a short try. */
const UNREAD_MS = LIMITS.backoffMs[1] + 5_000

/** None where no generation has begun. @throws TidemarkError SOURCE_UNREACHABLE */
export async function examineProgress(
  { source, roll }: Pick<Config, 'source' | 'roll'>,
  { catalog, clock }: Repository,
  signal: AbortSignal,
): Promise<Finding[]> {
  const { generation } = catalog
  if (generation === undefined) return []
  const { slot, known } = await askSource(source.url, generation, clock)
  const names = generation.facts.origin
  const isReadSoon = (): Promise<boolean> => openAdmin({ url: source.url, names }).isRead(UNREAD_MS, signal)
  const warn = (what: string, fix: string): Finding[] => [{ level: 'warn', code: 'NOT_PROTECTED', what, fix }]
  if (slot === null) return []
  const late = known === null ? undefined : overdue(known, roll.ageMs)
  if (!slot.active && (late === undefined || !(await isReadSoon())))
    return warn(
      `nobody reads the slot ${slot.name}: what the source commits now gets into the backup when tidemark up runs`,
      'tidemark up',
    )
  if (known === null)
    return warn(
      'there is no finished base yet: nothing can be restored before it',
      'tidemark windows  (when up has said that it streams)',
    )
  if (late === undefined) return []
  return [
    {
      level: 'refuse',
      code: 'NOT_PROTECTED',
      what: `the slot is read, and nothing becomes durable: ${late}`,
      fix: 'read what tidemark up says: each line of a retry names the code that keeps it waiting (so does curl -s http://HOST:PORT/protected, by http in tidemark.yaml)',
    },
  ]
}
