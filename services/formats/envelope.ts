/**
 * Encryption of objects: the AWS Encryption SDK message format, suite 0x0478 (AES-256-GCM, HKDF-SHA-512, key commitment,
 * no per-message signature: the ledger signs), 1 MiB frames. Segments are sealed under an epoch key; epoch keys under
 * recipients (services/adapters/keys). Opened by any other implementation of that format: schemas/segment-format.md.
 */
import { Readable } from 'node:stream'
import { finished } from 'node:stream/promises'
import { buildDecrypt } from '@aws-crypto/decrypt-node'
import { buildEncrypt } from '@aws-crypto/encrypt-node'
import materials from '@aws-crypto/material-management-node'
import type { KeyringNode } from '@aws-crypto/material-management-node'
import { RawAesKeyringNode, RawAesWrappingSuiteIdentifier } from '@aws-crypto/raw-aes-keyring-node'
import { TidemarkError } from '../core/errors.ts'
import { LARGE_BYTES, release, releaseAll } from '../core/release.ts'

const { CommitmentPolicy, AlgorithmSuiteIdentifier } = materials
const { encrypt, encryptStream } = buildEncrypt(CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT)
const { decrypt, decryptStream } = buildDecrypt(CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT)

const FRAME_BYTES = 1024 * 1024
const KEY_NAMESPACE = 'tidemark'

/** What a message is bound to: stream, kind, lane, range, object (hazard 99). Clear, but authenticated. */
export type SealContext = Readonly<Record<string, string>>

export interface EpochKey {
  /** Names the key's object in the store. */
  readonly id: string
  readonly secret: Buffer
}

/** A keyring over 32 secret bytes. The SDK copies the secret; ours is zeroed by its owner. */
export function aesKeyring(name: string, secret: Buffer): KeyringNode {
  return new RawAesKeyringNode({
    keyName: name,
    keyNamespace: KEY_NAMESPACE,
    unencryptedMasterKey: new Uint8Array(secret),
    wrappingSuite: RawAesWrappingSuiteIdentifier.AES256_GCM_IV12_TAG16_NO_PADDING,
  })
}

export async function sealWith(keyring: KeyringNode, plain: Buffer, context: SealContext): Promise<Buffer> {
  const { result } = await encrypt(keyring, plain, {
    suiteId: AlgorithmSuiteIdentifier.ALG_AES256_GCM_IV12_TAG16_HKDF_SHA512_COMMIT_KEY,
    frameLength: FRAME_BYTES,
    encryptionContext: { ...context },
  })
  return result
}

/** The same for what comes in pieces. Large ones are not joined on the way, and given back: they are the caller's own. */
export async function sealPieces(
  keyring: KeyringNode,
  plain: readonly Buffer[],
  context: SealContext,
): Promise<readonly Buffer[]> {
  const bytes = plain.reduce((sum, piece) => sum + piece.length, 0)
  if (bytes < LARGE_BYTES)
    return [await sealWith(keyring, plain.length === 1 ? plain[0]! : Buffer.concat(plain, bytes), context)]
  const stream = encryptStream(keyring, {
    suiteId: AlgorithmSuiteIdentifier.ALG_AES256_GCM_IV12_TAG16_HKDF_SHA512_COMMIT_KEY,
    frameLength: FRAME_BYTES,
    encryptionContext: { ...context },
  })
  const sealed: Buffer[] = []
  // A frame's last piece is empty.
  stream.on('data', (piece: Buffer) => void (piece.length > 0 && sealed.push(piece)))
  Readable.from(plain).pipe(stream)
  await finished(stream)
  releaseAll(plain)
  return sealed
}

/**
 * Opens a message and checks that it was sealed for exactly this context. A large one is given back: it is the caller's own.
 *
 * @throws TidemarkError KEY_WRONG when no key of the ring opens it, OBJECT_CORRUPT when it is damaged or for another place.
 */
export async function openWith(keyring: KeyringNode, sealed: Buffer, context: SealContext): Promise<Buffer> {
  let opened: Awaited<ReturnType<typeof decryptLarge>>
  try {
    opened = await (sealed.length < LARGE_BYTES ? decrypt(keyring, sealed) : decryptLarge(keyring, sealed))
  } catch (error) {
    const text = error instanceof Error ? error.message : ''
    if (/unencryptedDataKey has not been set|unable to decrypt|cannot decrypt/i.test(text)) {
      throw new TidemarkError('KEY_WRONG', `no key at hand opens ${context['object'] ?? 'this object'}`, {
        cause: error,
      })
    }
    throw new TidemarkError(
      'OBJECT_CORRUPT',
      `${context['object'] ?? 'an object'} is damaged: it does not decrypt`,
      { cause: error },
    )
  }
  const bound = opened.messageHeader.encryptionContext
  for (const [key, value] of Object.entries(context)) {
    if (bound[key] !== value) {
      throw new TidemarkError(
        'OBJECT_CORRUPT',
        `${context['object'] ?? 'an object'} was sealed for another place (${key})`,
      )
    }
  }
  return opened.plaintext
}

/** A little at a time, into one buffer: what is decrypted is never there twice. */
async function decryptLarge(
  keyring: KeyringNode,
  sealed: Buffer,
): Promise<Pick<Awaited<ReturnType<typeof decrypt>>, 'plaintext' | 'messageHeader'>> {
  const stream = decryptStream(keyring)
  // The plain bytes are somewhat fewer than the sealed ones.
  const plain = Buffer.allocUnsafeSlow(sealed.length)
  let at = 0
  let header: Awaited<ReturnType<typeof decrypt>>['messageHeader'] | undefined
  stream.once('MessageHeader', (read: NonNullable<typeof header>) => {
    header = read
  })
  stream.on('data', (piece: Buffer) => {
    at += piece.copy(plain, at)
  })
  Readable.from(framesOf(sealed)).pipe(stream)
  await finished(stream)
  if (header === undefined) throw new Error('a message without a header')
  release(sealed)
  return { plaintext: plain.subarray(0, at), messageHeader: header }
}

function* framesOf(sealed: Buffer): Generator<Buffer> {
  for (let at = 0; at < sealed.length; at += FRAME_BYTES) yield sealed.subarray(at, at + FRAME_BYTES)
}
