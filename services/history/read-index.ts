/** What a cut has in it, from its index. */
import type { NumberedEntry } from '../formats/ledger-entry.ts'
import { decodeIndex, type IndexedTransaction } from '../formats/segment-index.ts'
import type { Repository } from '../repository/repository.ts'

export async function readTransactions(
  repository: Repository,
  entry: NumberedEntry<'segments'>,
): Promise<readonly IndexedTransaction[]> {
  return (await readIndex(repository, entry)).transactions
}

export async function readIndex(
  repository: Repository,
  entry: NumberedEntry<'segments'>,
): Promise<ReturnType<typeof decodeIndex>> {
  const { body } = entry
  return decodeIndex(
    await repository.getSealed(body.index, {
      kind: 'index',
      generation: String(body.generation),
      lane: String(body.lane),
    }),
  )
}
