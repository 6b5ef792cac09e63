/** A writer that runs seals for whom the keys folder names by now. */
import { expect, test } from 'vitest'
import { MemoryStore } from '../../services/adapters/object-store/memory-store.ts'
import { systemRandomness } from '../../services/core/clock.ts'
import { TidemarkError } from '../../services/core/errors.ts'
import { LIMITS } from '../../services/core/limits.ts'
import type { KeyProvider } from '../../services/core/ports/key-provider.ts'
import { aesKeyring, openWith, sealWith } from '../../services/formats/envelope.ts'
import type { TrustedSigners } from '../../services/repository/genesis.ts'
import { Replicas } from '../../services/repository/replicas.ts'
import { Repository } from '../../services/repository/repository.ts'
import { MemoryPipeline } from '../support/memory-pipeline.ts'

function keysOf(name: string): KeyProvider {
  const secret = systemRandomness.bytes(32)
  return {
    recipients: [`aes:${name}`],
    canOpen: true,
    seal: (plain, context) => sealWith(aesKeyring(name, secret), plain, context),
    open: (sealed, context) => openWith(aesKeyring(name, secret), sealed, context),
  }
}

test('an epoch ends where a recipient goes or comes, and stays where the folder cannot be read', async () => {
  const store = new MemoryStore()
  let trust: TrustedSigners | undefined
  const pipeline = await MemoryPipeline.create([], { store, onTrust: (made) => (trust = made) })
  let elapsed = 0
  const [first, second] = [keysOf('first'), keysOf('second')]
  let now: KeyProvider | undefined = first
  const repository = await Repository.open({
    stores: Replicas.alone(store),
    trust: trust!,
    provider: first,
    recipientsNow: () =>
      now === undefined ? Promise.reject(new TidemarkError('KEY_MISSING', 'x')) : Promise.resolve(now),
    signer: pipeline.repository.signer,
    clock: { now: () => Date.now(), elapsed: () => elapsed, sleep: () => Promise.resolve() },
    randomness: systemRandomness,
  })
  const context = { kind: 'probe', object: 'x' }
  const seal = async (): Promise<string> =>
    (await repository.seal('x', Buffer.from('plain'), context)).object.key
  const recipients = (key: string): readonly string[] | undefined =>
    repository.catalog.keys.get(key)?.body.recipients
  const [epoch, ...others] = await Promise.all([seal(), seal(), seal()])
  expect(others).toEqual([epoch, epoch])
  expect(recipients(epoch!)).toEqual(['aes:first'])
  now = second
  expect(await seal()).toBe(epoch)
  elapsed += LIMITS.recipientsMs
  // Several at once, as parts of a base are: each under a key that is whole.
  const keys = await Promise.all([seal(), seal(), seal()])
  expect(keys.some((key) => recipients(key)?.join() === 'aes:second')).toBe(true)
  const next = await seal()
  expect(recipients(next)).toEqual(['aes:second'])
  now = undefined
  elapsed += LIMITS.recipientsMs
  expect(await seal()).toBe(next)
})
