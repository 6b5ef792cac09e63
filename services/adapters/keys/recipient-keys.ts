/**
 * KeyProvider over recipients: RSA keys (RSA-OAEP-SHA-256, 3072 bits and more; the writer has the public key only), AES-256 key files
 * (whoever can seal can open: `doctor` reports one on a writer), and keys that never leave AWS KMS or Vault.
 */
import type { KeyObject } from 'node:crypto'
import materials from '@aws-crypto/material-management-node'
import type { KeyringNode } from '@aws-crypto/material-management-node'
import { RawRsaKeyringNode } from '@aws-crypto/raw-rsa-keyring-node'
import { asTidemarkError, TidemarkError } from '../../core/errors.ts'
import { isMistake } from '../../core/mistake.ts'
import type { KeyProvider } from '../../core/ports/key-provider.ts'
import { aesKeyring, openWith, sealWith } from '../../formats/envelope.ts'
import { FreshKey } from './fresh-key.ts'
import type { KmsRecipient } from './kms-recipient.ts'
import type { VaultRecipient } from './vault-recipient.ts'

const { MultiKeyringNode } = materials

export type RecipientKey =
  | {
      readonly kind: 'rsa'
      readonly name: string
      readonly publicKey: KeyObject
      readonly privateKey?: KeyObject
    }
  | { readonly kind: 'aes'; readonly name: string; readonly secret: Buffer }
  | KmsRecipient
  | VaultRecipient

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
      if (key.kind === 'rsa' && bits < RSA_BITS_MIN)
        throw new TidemarkError(
          'KEY_FILE_INVALID',
          `recipient ${key.name} has ${bits} bits; at least ${RSA_BITS_MIN} are needed`,
        )
    }
    this.#keys = keys
    this.recipients = keys.map((key) => `${key.kind}:${key.name}`)
    this.canOpen = keys.some(opens)
  }

  async seal(secret: Buffer, context: Readonly<Record<string, string>>): Promise<Buffer> {
    const failures: KeyFailure[] = []
    try {
      const children = await Promise.all(this.#keys.map((key) => keyringOf(key, false, failures)))
      return await sealWith(new MultiKeyringNode({ generator: new FreshKey(), children }), secret, context)
    } catch (error) {
      throw failures[0] === undefined ? error : serviceError(failures[0])
    }
  }

  /** The keys at hand first: services are asked only where those do not open it. */
  async open(sealed: Buffer, context: Readonly<Record<string, string>>): Promise<Buffer> {
    const openers = this.#keys.filter(opens)
    if (openers.length === 0) throw new TidemarkError('KEY_MISSING', 'only public keys are at hand')
    const failures: KeyFailure[] = []
    const order = openers.toSorted((a, b) => Number(isService(a)) - Number(isService(b)))
    try {
      return await openWith(
        new MultiKeyringNode({
          children: await Promise.all(order.map((key) => keyringOf(key, true, failures))),
        }),
        sealed,
        context,
      )
    } catch (error) {
      throw failures[0] === undefined ? error : serviceError(failures[0])
    }
  }
}

interface KeyFailure {
  readonly recipient: string
  readonly error: unknown
}

/** A service that says no is different from one that says nothing; what it was asked with stays out of both texts. */
function serviceError({ recipient, error }: KeyFailure): TidemarkError {
  if (isMistake(error)) return asTidemarkError(error)
  const {
    name = '',
    code: errno,
    cause,
    status,
    $metadata,
  } = (error ?? {}) as {
    name?: string
    code?: unknown
    cause?: { code?: unknown }
    status?: number
    $metadata?: { httpStatusCode?: number }
  }
  const code = status ?? $metadata?.httpStatusCode
  const network = [errno, cause?.code].find((one) => typeof one === 'string')
  const told = code === undefined ? (network ?? name) : `${name === 'Error' ? '' : `${name}, `}${code}`
  // 429 and what is behind 500 pass; any other answer is one.
  const isAnswer = code !== undefined && code >= 400 && code < 500 && code !== 429
  return isAnswer
    ? new TidemarkError('KEY_REFUSED', `the key service refuses the recipient ${recipient} (${told})`, {
        cause: error,
      })
    : new TidemarkError(
        'KEY_UNREACHABLE',
        `the key service of the recipient ${recipient} cannot be reached (${told})`,
        { cause: error },
      )
}

function isService(key: RecipientKey): boolean {
  return key.kind === 'kms' || key.kind === 'vault'
}

function opens(key: RecipientKey): boolean {
  if (key.kind === 'rsa') return key.privateKey !== undefined
  return key.kind === 'aes' || key.mayOpen
}

async function keyringOf(key: RecipientKey, opening: boolean, failures: KeyFailure[]): Promise<KeyringNode> {
  const onFailure = (error: unknown): void => void failures.push({ recipient: key.name, error })
  switch (key.kind) {
    case 'aes':
      return aesKeyring(key.name, key.secret)
    case 'rsa':
      return new RawRsaKeyringNode({
        keyName: key.name,
        keyNamespace: 'tidemark',
        oaepHash: 'sha256',
        rsaKey:
          opening && key.privateKey !== undefined
            ? { privateKey: pem(key.privateKey) }
            : { publicKey: pem(key.publicKey) },
      })
    case 'kms': {
      // Loaded when it is wanted: AWS' client is large.
      const { kmsKeyring } = await import('./kms-recipient.ts')
      return kmsKeyring(key, onFailure)
    }
    case 'vault': {
      const { VaultKeyring } = await import('./vault-recipient.ts')
      return new VaultKeyring(key, onFailure)
    }
  }
}

function pem(key: KeyObject): string {
  return key.export({ format: 'pem', type: key.type === 'private' ? 'pkcs8' : 'spki' }).toString()
}
