/** Copies beside writers that know nothing of them, races for a number, and stores that belong to somebody else. */
import { expect, test } from 'vitest'
import { MemoryKeys } from '../../services/adapters/keys/memory-keys.ts'
import { MemoryStore } from '../../services/adapters/object-store/memory-store.ts'
import { systemClock, systemRandomness } from '../../services/core/clock.ts'
import { TidemarkError } from '../../services/core/errors.ts'
import type { ObjectStore } from '../../services/core/ports/object-store.ts'
import { ledgerName } from '../../services/formats/object-name.ts'
import { putBack } from '../../services/repository/copy-set.ts'
import { putNew } from '../../services/repository/keyring.ts'
import type { TrustedSigners } from '../../services/repository/genesis.ts'
import { endOf } from '../../services/repository/lineages.ts'
import { mirror } from '../../services/repository/mirror.ts'
import { namedObjects } from '../../services/repository/named-objects.ts'
import { Replicas } from '../../services/repository/replicas.ts'
import { Repository } from '../../services/repository/repository.ts'
import { MemoryPipeline } from '../support/memory-pipeline.ts'

const signal = new AbortController().signal

async function backup() {
  const primary = new MemoryStore()
  let trust: TrustedSigners | undefined
  const pipeline = await MemoryPipeline.create([], { store: primary, onTrust: (made) => (trust = made) })
  const signer = pipeline.repository.signer
  const { stream } = pipeline.repository.catalog
  const openAll = (stores: Replicas): Promise<Repository> =>
    Repository.open({
      stores,
      trust: trust!,
      provider: new MemoryKeys(systemRandomness),
      signer,
      clock: systemClock,
      randomness: systemRandomness,
    })
  const open = (store: ObjectStore): Promise<Repository> => openAll(Replicas.alone(store))
  const openWith = (copy: ObjectStore): Promise<Repository> =>
    openAll(new Replicas({ primary, copies: [{ store: copy, synchronous: true }], use: 'write' }))
  return { primary, stream, open, openWith, pipeline }
}

/** Every object that the copy's ledger names is in the copy. */
async function whole(repository: Repository, copy: MemoryStore): Promise<void> {
  for await (const entry of repository.ledger.walk()) {
    expect(copy.objects.get(ledgerName(1, entry.number)), `entry ${entry.number}`).toBeDefined()
    for (const { object } of namedObjects(entry))
      expect(copy.objects.get(object.name), object.name).toBeDefined()
  }
}

test('the entry that won a number brings what it names, though its writer knew no copy', async () => {
  const { primary, open, openWith } = await backup()
  const copy = new MemoryStore()
  const ours = await openWith(copy)
  await ours.audit('one', '', '')
  const stranger = await open(primary)
  await stranger.keyring.current(stranger.signer)
  // We do not know of it yet: our next number is taken.
  await ours.audit('two', '', '')
  await whole(ours, copy)
  expect((await endOf(copy, 0n)).number).toBe(ours.ledger.headNumber)
})

test('an object of the right size and the wrong content, left by an upload that broke off, does not stay in a copy', async () => {
  const { open, primary, stream } = await backup()
  const copy = new MemoryStore()
  const repository = await open(primary)
  const fill = (): Promise<bigint> =>
    mirror({
      ledger: repository.ledger,
      stream,
      to: copy,
      floor: undefined,
      bandwidth: undefined,
      clock: systemClock,
      signal,
    })
  await fill()
  await repository.keyring.current(repository.signer)
  const name = [...repository.catalog.keys.values()].at(-1)!.body.object.name
  const right = primary.objects.get(name)!
  copy.objects.set(name, Buffer.alloc(right.length))
  await fill()
  expect(copy.objects.get(name)).toEqual(right)
})

test("an object comes before the first entry: the empty copy is this backup's from then on", async () => {
  const { openWith } = await backup()
  const copy = new MemoryStore()
  const ours = await openWith(copy)
  await ours.keyring.current(ours.signer)
  await whole(ours, copy)
})

test('a checkpoint goes into a synchronous copy like everything else', async () => {
  const { openWith } = await backup()
  const copy = new MemoryStore()
  const ours = await openWith(copy)
  await ours.audit('one', '', '')
  await ours.checkpoint(1)
  expect([...copy.objects.keys()].filter((name) => name.startsWith('checkpoints/'))).toHaveLength(1)
  await whole(ours, copy)
})

test('two writers with the same copy race for a number, and both go on', async () => {
  const { openWith } = await backup()
  const copy = new MemoryStore()
  const [one, two] = [await openWith(copy), await openWith(copy)]
  for (let i = 0; i < 5; i++) {
    await Promise.all([one.audit(`a${i}`, '', ''), two.audit(`b${i}`, '', '')])
    await two.audit(`c${i}`, '', '')
  }
  await one.ledger.refresh()
  await whole(one, copy)
})

test('another writer went around garbage: a copy that has the detour already takes our objects', async () => {
  const { primary, openWith } = await backup()
  const copy = new MemoryStore()
  const [one, two] = [await openWith(copy), await openWith(copy)]
  primary.objects.set(ledgerName(1, one.ledger.headNumber + 1n), Buffer.from('garbage'))
  await one.ledger.refresh()
  await one.audit('around', '', '')
  expect(two.ledger.lineages.current).toBe(1)
  await putNew(two.ledger, 'segments/g1/l0/one.index', [Buffer.from('object')])
  expect(copy.objects.get('segments/g1/l0/one.index')).toEqual(Buffer.from('object'))
  await two.audit('behind', '', '')
  await one.ledger.refresh()
  expect(one.ledger.headHash).toBe(two.ledger.headHash)
})

test('a store that belongs to somebody else is never filled', async () => {
  const [mine, other] = [await backup(), await backup()]
  const before = new Map(other.primary.objects)
  const { ledger } = mine.pipeline.repository
  const fill = (to: ObjectStore): Promise<bigint> =>
    mirror({
      ledger,
      stream: mine.stream,
      to,
      floor: undefined,
      bandwidth: undefined,
      clock: systemClock,
      signal,
    })
  for (let i = 0; i < 20; i++) await mine.pipeline.repository.audit('more', '', '')
  await expect(fill(other.primary)).rejects.toMatchObject({ code: 'STORE_FOREIGN' })
  expect(other.primary.objects).toEqual(before)
  const files = new MemoryStore()
  files.objects.set('holiday.jpg', Buffer.from('x'))
  await expect(fill(files)).rejects.toMatchObject({ code: 'STORE_NOT_EMPTY' })
  const theirs = new MemoryStore()
  await mirror({
    ledger: other.pipeline.repository.ledger,
    stream: other.stream,
    to: theirs,
    floor: undefined,
    bandwidth: undefined,
    clock: systemClock,
    signal,
  })
  await expect(fill(theirs)).rejects.toMatchObject({ code: 'STORE_FOREIGN' })
})

test('where a store ends, from whatever guess', async () => {
  const store = new MemoryStore()
  for (let head = 0n; head < 40n; head++) {
    if (head > 0n) store.objects.set(ledgerName(1, head), Buffer.alloc(1))
    for (let guess = 0n; guess < 60n; guess += 3n)
      expect(await endOf(store, guess)).toEqual({ lineage: 1, number: head })
  }
})

test('the newest ledger entry is never taken away to be put back', async () => {
  const store = new MemoryStore()
  for (const number of [1n, 2n]) store.objects.set(ledgerName(1, number), Buffer.from('damaged'))
  expect(await putBack(store, ledgerName(1, 2n), Buffer.from('right'))).toBe(false)
  expect(store.objects.get(ledgerName(1, 2n))!.toString()).toBe('damaged')
  expect(await putBack(store, ledgerName(1, 1n), Buffer.from('right'))).toBe(true)
  expect(store.objects.get(ledgerName(1, 1n))!.toString()).toBe('right')
  store.objects.delete(ledgerName(1, 2n))
  expect(await putBack(store, ledgerName(1, 2n), Buffer.from('right'))).toBe(true)
})

test('a store that was silent once is asked last by a reader: not once for each object', async () => {
  const silent = new MemoryStore()
  const copy = new MemoryStore()
  const names = ['segments/a', 'segments/b', 'segments/c']
  for (const name of names) await copy.putIfAbsent(name, [Buffer.from(name)])
  await silent.putIfAbsent('segments/alone', [Buffer.from('alone')])
  let asked = 0
  const get = silent.get.bind(silent)
  silent.get = (name, range) => {
    asked++
    return name === 'segments/alone'
      ? get(name, range)
      : Promise.reject(new TidemarkError('STORE_UNREACHABLE', 'silent'))
  }
  const said: string[] = []
  const copies = [{ store: copy, synchronous: false }]
  const events = { onFallback: ({ code }: { code: string }) => void said.push(code) }
  const set = new Replicas({ primary: silent, copies, use: 'read', events }).store
  for (const name of names) expect((await set.get(name)).toString()).toBe(name)
  expect([asked, said]).toEqual([1, names.map(() => 'STORE_UNREACHABLE')])
  // What nobody else has it is asked for all the same.
  expect((await set.get('segments/alone')).toString()).toBe('alone')

  // A signal ends a read that hangs, and no other store is asked then.
  const hung = new MemoryStore()
  hung.get = () => new Promise(() => undefined)
  const stop = new AbortController()
  const waiting = new Replicas({ primary: hung, copies, use: 'read', signal: stop.signal }).store.get(
    'segments/a',
  )
  stop.abort(new DOMException('stopped', 'AbortError'))
  await expect(waiting).rejects.toThrow('stopped')
})
