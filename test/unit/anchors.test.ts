/** Who may say how far a ledger had come. */
import { generateKeyPairSync } from 'node:crypto'
import { expect, test } from 'vitest'
import { MemoryStore } from '../../services/adapters/object-store/memory-store.ts'
import { systemClock } from '../../services/core/clock.ts'
import { signLine } from '../../services/formats/signed-line.ts'
import { anchorName } from '../../services/formats/object-name.ts'
import { Anchors } from '../../services/repository/anchors.ts'
import { LedgerBench } from '../support/ledger-bench.ts'

const ahead = (stream: string, number: bigint) => ({
  version: 1,
  stream,
  lineage: 1,
  number: number.toString(),
  hash: '0'.repeat(64),
  writtenAt: '2026-01-01T00:00:00.000Z',
})

test('a retired signer says nothing of entries that came later, however many anchors it leaves', async () => {
  const bench = await LedgerBench.create()
  const { stream } = bench.trust
  const place = new MemoryStore()
  const anchorsOf = async (): Promise<Anchors> =>
    new Anchors({ places: [place], ledger: (await bench.open()).ledger, stream, clock: systemClock })
  const { publicKey, privateKey } = generateKeyPairSync('ed25519')
  const next = { id: 'next', privateKey }
  const pem = publicKey.export({ type: 'spki', format: 'pem' }).toString()
  const forged = Array.from({ length: 20 }, (_, i) => 1_000_000n + BigInt(i))
  const forge = async (): Promise<void> => {
    for (const number of forged)
      await place.putIfAbsent(anchorName(stream, number), [signLine(ahead(stream, number), bench.writer)])
  }
  // While it may sign, what it says stops everybody, and a person decides.
  await forge()
  await expect((await anchorsOf()).check()).rejects.toMatchObject({ code: 'STORE_ROLLED_BACK' })
  await (await bench.open(bench.keeper)).append({
    kind: 'signers',
    add: [{ id: 'next', role: 'writer', publicKey: pem }],
    retire: ['writer'],
  })
  expect(await (await anchorsOf()).check()).toMatchObject([{ outcome: 'none' }])
  const anchors = await anchorsOf()
  expect(await anchors.write(next)).toEqual([])
  expect(await (await anchorsOf()).check()).toMatchObject([{ outcome: 'equal', head: { number: '3' } }])
  expect([...place.objects.keys()]).toHaveLength(1)
})
