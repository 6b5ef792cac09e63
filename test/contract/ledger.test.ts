/** One ledger, several writers at once: every entry once, in one order, whoever reads while others append. */
import { generateKeyPairSync, randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import { MemoryStore } from '../../services/adapters/object-store/memory-store.ts'
import { systemClock } from '../../services/core/clock.ts'
import { Ledger } from '../../services/repository/ledger.ts'

test('appends and refreshes of two processes, all at once', async () => {
  const store = new MemoryStore()
  const slow = {
    ...store,
    place: 'slow',
    list: store.list.bind(store),
    size: store.size.bind(store),
    digest: store.digest.bind(store),
    remove: store.remove.bind(store),
    kept: store.kept.bind(store),
    purge: store.purge.bind(store),
    putIfAbsent: store.putIfAbsent.bind(store),
    get: async (name: string) => (
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 3)), store.get(name)
    ),
  }
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  const signer = { id: 'w', privateKey }
  const signers = [
    {
      id: 'w',
      role: 'writer' as const,
      publicKey: publicKey.export({ type: 'spki', format: 'pem' }).toString(),
    },
  ]
  const stream = randomUUID()
  const genesis = await Ledger.create(
    slow,
    systemClock,
    { kind: 'genesis', stream, signers, recipients: [] },
    signer,
  )
  const ledgers = await Promise.all(
    [0, 1].map(() => Ledger.open(slow, systemClock, { stream, genesis, signers })),
  )
  const work: Promise<unknown>[] = []
  for (let i = 0; i < 40; i++)
    for (const [who, ledger] of ledgers.entries())
      work.push(
        ledger.append({ kind: 'audit', command: 'test', operator: String(who), what: String(i) }, signer),
        ledger.refresh(),
      )
  await Promise.all(work)
  for (const ledger of ledgers) await ledger.refresh()
  expect(ledgers.map((ledger) => ledger.headNumber)).toEqual([81n, 81n])
  expect(ledgers[0]!.headHash).toBe(ledgers[1]!.headHash)
  const said: string[] = []
  for await (const { body } of ledgers[0]!.walk())
    if (body?.kind === 'audit') said.push(`${body.operator}:${body.what}`)
  expect(new Set(said).size).toBe(80)
})
