/** What `up` would refuse of its source before it reads a byte, asked beside a job that may be running. */
import { streamTrouble } from '../../core/error-codes.ts'
import { asTidemarkError, type TidemarkError } from '../../core/errors.ts'
import type { Finding } from '../../core/finding.ts'
import type { SourceAdmin } from '../../core/ports/source-admin.ts'
import type { Generation } from '../../repository/generation.ts'
import type { Repository } from '../../repository/repository.ts'
import type { Config } from '../config/config.ts'
import { openAdmin } from '../wiring/source-admin.ts'
import { storedHistory } from '../wiring/stored-history.ts'

export interface AskedSource {
  readonly url: string
  /** Acknowledged with the log, the source may be ahead of the store. */
  readonly trustsLog: boolean
}

export function askedSource(config: Pick<Config, 'source' | 'kafka'>): AskedSource {
  return { url: config.source.url, trustsLog: config.kafka?.acknowledge === 'log' }
}

/**
 * Undefined where the source can go on from where the backup ends, or where no generation has begun.
 *
 * @param withHistory reads what the slot sends once more as well, where nobody else reads it
 */
export async function examineSource(
  { url, trustsLog }: AskedSource,
  repository: Repository,
  withHistory: boolean,
): Promise<TidemarkError | undefined> {
  const { generation } = repository.catalog
  if (generation === undefined) return undefined
  const number = generation.facts.generation
  try {
    const { origin } = generation.facts
    const now = (): Generation => repository.catalog.generation ?? generation
    await openAdmin({ url, names: origin }).prove(
      async () => {
        await repository.ledger.refresh()
        const { facts, timeline, end } = now()
        return { origin: facts.origin, timeline, end }
      },
      withHistory ? (from) => storedHistory(now(), from) : undefined,
    )
    return undefined
  } catch (error) {
    const known = asTidemarkError(error)
    if (streamTrouble(known.code) === 'ahead' && trustsLog) return undefined
    // A job has begun another one meanwhile, with another slot.
    if (repository.catalog.generation?.facts.generation !== number) return undefined
    return known
  }
}

/**
 * Before a command reads the source or writes into it: the same words for the same state, whichever command meets it.
 *
 * @throws TidemarkError SOURCE_CHANGED, SOURCE_DIVERGED, SOURCE_UNREACHABLE, and what the engine says of its stream
 */
export async function requireSource(source: AskedSource, repository: Repository): Promise<void> {
  const trouble = await examineSource(source, repository, false)
  if (trouble !== undefined) throw trouble
}

/** What a start of `up` would refuse of the source as it is: a job that runs goes on, and would not start again. */
export async function unfitness(admin: SourceAdmin): Promise<Finding | undefined> {
  return (await admin.examine()).find(({ level, isOfStream }) => level === 'refuse' && isOfStream !== true)
}
