/** A signing key that was retired: what it signs for other members is not taken, and who runs with it ends and says so, though it writes no entry. */
import { generateKeyPairSync } from 'node:crypto'
import { expect, test } from 'vitest'
import { openAnswer, openOrder, sealAnswer, sealOrder } from '../../services/compactor/cut-order.ts'
import type { Repository } from '../../services/repository/repository.ts'
import { LoggedBackup } from '../support/logged-backup.ts'
import { MemoryKafka } from '../support/memory-kafka.ts'
import { MemoryRegistry } from '../support/memory-registry.ts'
import { MemoryPipeline } from '../support/memory-pipeline.ts'
import { TABLES } from '../support/random-changes.ts'

/** As `tidemark keys rotate-signer`. */
async function rotate(repository: Repository): Promise<void> {
  const publicKey = generateKeyPairSync('ed25519')
    .publicKey.export({ type: 'spki', format: 'pem' })
    .toString()
  await repository.append({
    kind: 'signers',
    add: [{ id: 'next', role: 'keeper', publicKey }],
    retire: [repository.signer.id],
  })
}

test('orders and answers on the board', async () => {
  const { repository } = await MemoryPipeline.create([])
  const order = sealOrder(repository, {
    generation: 1,
    term: 1,
    number: 1,
    lane: 0,
    from: '0',
    first: '0',
    last: '0',
    since: 0,
    after: '0/0',
    to: '0/1',
    segmentBytes: 1,
  })
  const answer = sealAnswer(repository, { term: 1, number: 1, made: null, error: null })
  expect(openOrder(repository, order)).toMatchObject({ number: 1 })
  expect(openAnswer(repository, answer)).toMatchObject({ number: 1 })
  await rotate(repository)
  expect(openOrder(repository, order)).toBeUndefined()
  expect(openAnswer(repository, answer)).toBeUndefined()
})

test('a replicator, and compactors', async () => {
  await using registry = await MemoryRegistry.start()
  const backup = await LoggedBackup.create({
    broker: new MemoryKafka(),
    registryUrl: registry.url,
    prefix: 'p',
    acknowledge: 'segment',
    segmentBytes: 1000,
    tables: TABLES,
  })
  const replicator = backup.start('replicator')
  const leader = backup.start('compactor')
  const stored = async (): Promise<boolean> => (await backup.catalog()).generation!.base !== undefined
  while (!(await stored())) await new Promise((resolve) => setTimeout(resolve, 2))
  const builder = backup.start('compactor')
  while (!builder.stage.includes('sharing')) await new Promise((resolve) => setTimeout(resolve, 2))
  // Nothing is written by anybody behind this.
  await rotate(await backup.reader())
  for (const process of [replicator, leader, builder]) {
    await process.over
    expect(process.failure, process.role).toMatchObject({
      code: 'SIGNER_REFUSED',
      message: expect.stringContaining('was retired with entry') as string,
      next: expect.stringContaining('copy keys/writer') as string,
    })
  }
})
