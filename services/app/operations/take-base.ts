/** `backup base`: one more base, beside a running `up` (which holds the lane; a base needs none). */
import { TidemarkError } from '../../core/errors.ts'
import type { EntryOf } from '../../formats/ledger-entry.ts'
import { BaseCopy, type BaseEvents } from '../../replicator/base-copy.ts'
import type { Repository } from '../../repository/repository.ts'
import { openSource } from '../wiring/compose.ts'
import { askedSource, requireSource } from './examine-source.ts'
import { openBackup, placeOf } from '../wiring/open-backup.ts'
import type { Config } from '../config/config.ts'

export async function takeBase(
  config: Config,
  signal: AbortSignal,
  onTable: NonNullable<BaseEvents['onTable']>,
): Promise<{ repository: Repository; base: EntryOf<'base'> }> {
  const { repository } = await openBackup({ ...placeOf(config), role: 'writer' })
  const { generation } = repository.catalog
  if (generation?.base === undefined)
    throw new TidemarkError('NO_BASE', 'the stream takes the first base, and has not finished it', {
      next: 'where up runs, wait for its base (tidemark status); where it does not: tidemark up',
    })
  await requireSource(askedSource(config), repository)
  const source = openSource(config, generation)
  try {
    const copy = new BaseCopy({
      source,
      repository,
      generation: generation.facts.generation,
      clock: repository.clock,
      randomness: repository.randomness,
      events: { onTable },
    })
    return { repository, base: await copy.base(signal) }
  } finally {
    await source.close()
  }
}
