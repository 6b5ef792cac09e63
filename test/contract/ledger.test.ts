/** One ledger, several writers at once: every entry once, in one order, whoever reads while others append, whatever answers are lost. */
import { generateKeyPairSync, randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import { encodeRoot } from '../../services/formats/checkpoint.ts'
import { encodeEntry, hashBytes } from '../../services/formats/ledger-entry.ts'
import { checkpointName, ledgerName, rootName } from '../../services/formats/object-name.ts'
import { proveLedger } from '../../services/repository/checkpoint.ts'
import { endOf } from '../../services/repository/lineages.ts'
import { mirror } from '../../services/repository/mirror.ts'
import { LedgerBench, segmentsAfter } from '../support/ledger-bench.ts'
import { MemoryStore } from '../../services/adapters/object-store/memory-store.ts'
import { systemClock, systemRandomness } from '../../services/core/clock.ts'
import { createLedger } from '../../services/repository/genesis.ts'
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
  const genesis = await createLedger(
    slow,
    systemClock,
    { kind: 'genesis', stream, signers, recipients: [], format: 2 },
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

test('an answer is lost, and the ledger is read or written to before the next try: the entry is there once', async () => {
  for (const between of ['refresh', 'append'] as const) {
    const bench = await LedgerBench.create()
    const repository = await bench.open()
    const body = segmentsAfter(repository.catalog.generation!)
    bench.loseNext()
    await expect(repository.append(body)).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' })
    if (between === 'refresh') await repository.ledger.refresh()
    else await repository.audit('x', 'y', 'z')
    const entry = await repository.append(body)
    expect(entry.number).toBe(3n)
    expect(repository.catalog.generation!.segments.last!.number).toBe(3n)
    await bench.open()
  }
})

test('nothing is put that nobody could read past', async () => {
  const bench = await LedgerBench.create()
  const repository = await bench.open(bench.keeper)
  const head = repository.ledger.headNumber
  const id = randomUUID()
  for (const body of [
    { ...segmentsAfter(repository.catalog.generation!), from: '0/1' },
    { kind: 'removed' as const, id },
    { kind: 'retire-undone' as const, id },
    { kind: 'gap-closed' as const, generation: 1, id, at: '0/1' },
    { kind: 'marker' as const, generation: 2, at: '0/1', name: 'x' },
  ])
    await expect(repository.append(body)).rejects.toMatchObject({ code: 'LEDGER_OVERTAKEN' })
  expect(repository.ledger.headNumber).toBe(head)
  expect((await bench.open()).ledger.headNumber).toBe(head)
})

test('a store that already has an entry twice opens again; another one in its place does not', async () => {
  const bench = await LedgerBench.create()
  const repository = await bench.open()
  const body = segmentsAfter(repository.catalog.generation!)
  await repository.append(body)
  await repository.audit('x', 'y', 'z')
  await bench.force(body)
  const opened = await bench.open()
  expect(opened.catalog.repeated).toEqual([5n])
  const next = segmentsAfter(opened.catalog.generation!)
  await opened.append(next)
  const again = await bench.open()
  expect(again.catalog.generation!.to).toBe(opened.catalog.generation!.to)
  await bench.force({ ...next, changes: '2' })
  await expect(bench.open()).rejects.toMatchObject({ code: 'LEDGER_BROKEN' })
})

test('garbage under the next number is the end, with an alarm; writers go around it, and everybody follows', async () => {
  const bench = await LedgerBench.create()
  const before = await bench.open()
  await before.audit('x', 'y', 'z')
  const reader = await bench.open()
  for (const bytes of [Buffer.alloc(0), Buffer.from('{}'), Buffer.alloc(5000), systemRandomness.bytes(500)]) {
    const { ledger } = await bench.open()
    bench.store.objects.set(ledger.lineages.nameOf(ledger.headNumber + 1n), bytes)
    const opened = await bench.open()
    expect(opened.ledger.garbage?.number).toBe(ledger.headNumber + 1n)
    expect(opened.ledger.headNumber).toBe(ledger.headNumber)
    // Two at once, one of which was open before it came.
    await Promise.all([opened.audit('a', 'b', 'c'), before.audit('x', 'y', 'z')])
    for (const one of [reader, await bench.open()]) {
      await one.ledger.refresh()
      await one.ledger.followPromotions()
      expect(one.ledger.garbage).toBeUndefined()
      expect(one.ledger.headNumber).toBe(ledger.headNumber + 3n)
    }
    await before.checkpoint(1)
    await before.audit('behind', 'the', 'checkpoint')
  }
  const proven = await bench.open(bench.keeper, 'keepers')
  const { number, lineage } = await endOf(bench.store, 0n)
  expect({ number, lineage }).toEqual({ number: proven.ledger.headNumber, lineage: 5 })
  expect((await bench.open()).ledger.headHash).toBe(proven.ledger.headHash)
  const copy = new MemoryStore()
  const { stream } = bench.trust
  const signal = new AbortController().signal
  const options = { floor: undefined, bandwidth: undefined, clock: systemClock, signal }
  await mirror({ ledger: proven.ledger, stream, to: copy, ...options })
  expect((await bench.open(bench.writer, 'signers', copy)).ledger.headHash).toBe(proven.ledger.headHash)
})

test('a checkpoint that finds garbage in its way is not written: it would not say what led around it', async () => {
  const bench = await LedgerBench.create()
  const before = await bench.open()
  await before.audit('x', 'y', 'z')
  const { ledger } = await bench.open()
  bench.store.objects.set(ledger.lineages.nameOf(ledger.headNumber + 1n), Buffer.from('garbage'))
  await before.ledger.refresh()
  await before.checkpoint(1)
  await before.audit('behind', 'the', 'detour')
  const opened = await bench.open()
  expect(opened.ledger.headHash).toBe(before.ledger.headHash)
  for await (const { faults } of proveLedger(opened.ledger, undefined)) expect(faults).toEqual([])
})

test('a checkpoint that an older writer put behind a detour, and that does not say so, is passed over', async () => {
  const bench = await LedgerBench.create()
  const before = await bench.open()
  const bytes = encodeRoot(before.catalog.root(before.ledger.headNumber, before.ledger.headHash, []))
  const name = rootName(1, before.ledger.headNumber, '00000000')
  bench.store.objects.set(name, bytes)
  const { ledger } = await bench.open()
  bench.store.objects.set(ledger.lineages.nameOf(ledger.headNumber + 1n), Buffer.from('garbage'))
  await before.audit('behind', 'the', 'detour')
  const root = { name, bytes: String(bytes.length), sha256: hashBytes(bytes) }
  await before.append({ kind: 'checkpoint', root, pages: [] })
  bench.store.objects.set(checkpointName(2, before.ledger.headNumber), Buffer.from('{}'))
  await before.audit('behind', 'the', 'checkpoint')
  const opened = await bench.open()
  expect(opened.ledger.headHash).toBe(before.ledger.headHash)
  expect(opened.catalog.root(0n, '', [])).toEqual(before.catalog.root(0n, '', []))
})

test('an entry with one flipped bit, cut short, or with others behind it, is damage and never the end', async () => {
  const bench = await LedgerBench.create()
  const repository = await bench.open()
  await repository.append(segmentsAfter(repository.catalog.generation!))
  const name = repository.ledger.lineages.nameOf(3n)
  const right = bench.store.objects.get(name)!
  const refused = async (bytes: Buffer): Promise<void> => {
    bench.store.objects.set(name, bytes)
    await expect(bench.open()).rejects.toMatchObject({ code: 'LEDGER_BROKEN' })
  }
  for (let at = 0; at < right.length; at += at > right.length - 110 ? 1 : 7) {
    const wrong = Buffer.from(right)
    wrong[at]! ^= 1 << (at % 8)
    await refused(wrong)
  }
  await refused(right.subarray(0, 200))
  await refused(Buffer.concat([Buffer.alloc(300), right.subarray(300)]))
  bench.store.objects.set(name, right)
  await repository.audit('x', 'y', 'z')
  await refused(Buffer.from('garbage'))
})

test("a writer's key passes over nothing that was ever an entry", async () => {
  const bench = await LedgerBench.create()
  const repository = await bench.open()
  const shared = { number: '2', hash: repository.ledger.headHash }
  await repository.append(segmentsAfter(repository.catalog.generation!))
  const { headHash, lineages } = repository.ledger
  const file = bench.store.objects.get(lineages.nameOf(3n))!
  const body = { kind: 'detour' as const, lineage: 2, shared, garbage: hashBytes(file) }
  const detour = encodeEntry(3n, shared.hash, new Date().toISOString(), body, bench.writer)
  bench.store.objects.set(ledgerName(2, 3n), detour)
  const opened = await bench.open()
  expect([opened.ledger.headHash, opened.ledger.lineages.current]).toEqual([headHash, 1])
  // Inside a lineage none can begin.
  await bench.force({ ...body, shared: { number: '3', hash: headHash } })
  await expect(bench.open()).rejects.toMatchObject({ code: 'LEDGER_BROKEN' })
})
