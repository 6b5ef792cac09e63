/**
 * KeyProvider over key files: RSA recipients (RSA-OAEP-SHA-256, 3072 bits and more; the writer has the public key only)
 * and AES-256 key files (whoever can seal can open: `doctor` reports one on a writer).
 */
import { createPublicKey, type KeyObject } from 'node:crypto'
import materials from '@aws-crypto/material-management-node'
import type { KeyringNode } from '@aws-crypto/material-management-node'
import { RawRsaKeyringNode } from '@aws-crypto/raw-rsa-keyring-node'
import { TidemarkError } from '../../core/errors.ts'
import type { KeyProvider } from '../../core/ports/key-provider.ts'
import { aesKeyring, openWith, sealWith } from '../../formats/envelope.ts'

const { MultiKeyringNode } = materials

export type RecipientKey =
  | { readonly kind: 'rsa'; readonly name: string; readonly publicKey: KeyObject; readonly privateKey?: KeyObject }
  | { readonly kind: 'aes'; readonly name: string; readonly secret: Buffer }

const RSA_BITS_MIN = 3072

export class RecipientKeys implements KeyProvider {
  readonly recipients: readonly string[]
  readonly canOpen: boolean
  readonly #keys: readonly RecipientKey[]

  /** @throws TidemarkError KEY_FILE_INVALID for an RSA key that is too short, KEY_MISSING without any key. */
  constructor(keys: readonly RecipientKey[]) {
    if (keys.length === 0) throw new TidemarkError('KEY_MISSING', 'no recipient key was given')
    for (const key of keys) {
      const bits = key.kind === 'rsa' ? (key.publicKey.asymmetricKeyDetails?.modulusLength ?? 0) : 0
      if (key.kind === 'rsa' && bits < RSA_BITS_MIN) throw new TidemarkError('KEY_FILE_INVALID', `recipient ${key.name} has ${bits} bits; at least ${RSA_BITS_MIN} are needed`)
    }
    this.#keys = keys
    this.recipients = keys.map((key) => `${key.kind}:${key.name}`)
    this.canOpen = keys.some((key) => key.kind === 'aes' || key.privateKey !== undefined)
  }

  seal(secret: Buffer, context: Readonly<Record<string, string>>): Promise<Buffer> {
    const [generator, ...children] = this.#keys.map((key) => keyringOf(key, false))
    return sealWith(new MultiKeyringNode({ generator: generator as KeyringNode, children }), secret, context)
  }

  async open(sealed: Buffer, context: Readonly<Record<string, string>>): Promise<Buffer> {
    const openers = this.#keys.filter((key) => key.kind === 'aes' || key.privateKey !== undefined)
    if (openers.length === 0) throw new TidemarkError('KEY_MISSING', 'only public keys are at hand')
    return openWith(new MultiKeyringNode({ children: openers.map((key) => keyringOf(key, true)) }), sealed, context)
  }
}

function keyringOf(key: RecipientKey, opening: boolean): KeyringNode {
  if (key.kind === 'aes') return aesKeyring(key.name, key.secret)
  return new RawRsaKeyringNode({
    keyName: key.name,
    keyNamespace: 'tidemark',
    oaepHash: 'sha256',
    rsaKey: opening && key.privateKey !== undefined ? { privateKey: pem(key.privateKey) } : { publicKey: pem(key.publicKey) },
  })
}

function pem(key: KeyObject): string {
  return key.export({ format: 'pem', type: key.type === 'private' ? 'pkcs8' : 'spki' }).toString()
}

export function publicHalf(privateKey: KeyObject): KeyObject {
  return createPublicKey(privateKey)
}
