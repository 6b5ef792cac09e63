/** The KeyProvider contract, run by every adapter. */
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { RecipientKeys } from '../../services/adapters/keys/recipient-keys.ts'
import { MemoryKeys } from '../../services/adapters/keys/memory-keys.ts'
import { systemRandomness } from '../../services/core/clock.ts'
import type { KeyProvider } from '../../services/core/ports/key-provider.ts'

const rsa = (
  bits = 3072,
): { publicKey: import('node:crypto').KeyObject; privateKey: import('node:crypto').KeyObject } =>
  generateKeyPairSync('rsa', { modulusLength: bits })
const pair = rsa()
const secondPair = rsa()
const aes = randomBytes(32)

/** `make` gives a provider that can open; `sealer` one of the same recipients that cannot, where there is such a thing. */
const PROVIDERS: Readonly<
  Record<string, { make: () => KeyProvider; sealer?: () => KeyProvider; stranger: () => KeyProvider }>
> = {
  memory: { make: () => memory, stranger: () => new MemoryKeys(systemRandomness) },
  aes: {
    make: () => new RecipientKeys([{ kind: 'aes', name: 'k', secret: aes }]),
    stranger: () => new RecipientKeys([{ kind: 'aes', name: 'k', secret: randomBytes(32) }]),
  },
  rsa: {
    make: () => new RecipientKeys([{ kind: 'rsa', name: 'r', ...pair }]),
    sealer: () => new RecipientKeys([{ kind: 'rsa', name: 'r', publicKey: pair.publicKey }]),
    stranger: () => new RecipientKeys([{ kind: 'rsa', name: 'r', ...secondPair }]),
  },
}
const memory = new MemoryKeys(systemRandomness)
const context = { stream: 's', kind: 'key', object: 'keys/k1' }
const secret = randomBytes(32)

describe.each(Object.keys(PROVIDERS))('%s', (kind) => {
  const { make, sealer, stranger } = PROVIDERS[kind]!

  test('opens exactly what was sealed, and never shows it', async () => {
    const sealed = await (sealer ?? make)().seal(secret, context)
    expect(sealed.includes(secret)).toBe(false)
    expect((await make().open(sealed, context)).equals(secret)).toBe(true)
    expect(make().recipients.length).toBe(1)
    expect(make().canOpen).toBe(true)
  })

  test('another place, another key, a changed byte: each refused with its code', async () => {
    const sealed = await make().seal(secret, context)
    await expect(make().open(sealed, { ...context, object: 'keys/k2' })).rejects.toMatchObject({
      code: 'OBJECT_CORRUPT',
    })
    await expect(stranger().open(sealed, context)).rejects.toMatchObject({ code: 'KEY_WRONG' })
    const broken = Buffer.from(sealed)
    broken[broken.length - 5]! ^= 1
    await expect(make().open(broken, context)).rejects.toMatchObject({
      code: expect.stringMatching(/OBJECT_CORRUPT|KEY_WRONG/) as string,
    })
  })

  // Whoever has a symmetric key can open: only RSA has two sides.
  if (sealer !== undefined)
    test('the sealing side cannot open what it sealed', async () => {
      const writer = sealer()
      expect(writer.canOpen).toBe(false)
      await expect(writer.open(await writer.seal(secret, context), context)).rejects.toMatchObject({
        code: 'KEY_MISSING',
      })
    })
})

test('any one of several recipients opens it', async () => {
  const sealed = await new RecipientKeys([
    { kind: 'rsa', name: 'a', publicKey: pair.publicKey },
    { kind: 'rsa', name: 'b', publicKey: secondPair.publicKey },
    { kind: 'aes', name: 'c', secret: aes },
  ]).seal(secret, context)
  for (const only of [
    new RecipientKeys([{ kind: 'rsa', name: 'a', ...pair }]),
    new RecipientKeys([{ kind: 'rsa', name: 'b', ...secondPair }]),
    new RecipientKeys([{ kind: 'aes', name: 'c', secret: aes }]),
  ]) {
    expect((await only.open(sealed, context)).equals(secret)).toBe(true)
  }
})

test('short RSA keys are refused', () => {
  expect(() => new RecipientKeys([{ kind: 'rsa', name: 'short', ...rsa(2048) }])).toThrow(/2048 bits/)
})
