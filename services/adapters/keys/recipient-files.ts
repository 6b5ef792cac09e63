/** Recipients in the keys folder: made, added and taken away as files. What a private key has opened once it opens for ever. */
import { createPublicKey, generateKeyPair } from 'node:crypto'
import { access, readFile, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Randomness } from '../../core/clock.ts'
import { TidemarkError } from '../../core/errors.ts'
import { clearService } from '../../core/exposure.ts'
import { guardedPem, type KeysFolder, ownSide, writeDurably } from './key-folder.ts'
import { RecipientKeys } from './recipient-keys.ts'
import { parseServiceKey, type ServiceKey, serviceRecipientOf } from './service-key.ts'

const generate = promisify(generateKeyPair)
const RSA_BITS = 3072
const NAME = /^recipient-[a-z0-9-]{1,40}$/

/** A new RSA recipient: the private key into `restore/`, the public one into `writer/`. Returns its name. */
export async function newRecipient(keys: KeysFolder, randomness: Randomness): Promise<string> {
  const [writer, restore] = [await ownSide(keys, 'writer'), await ownSide(keys, 'restore')]
  const name = `recipient-${randomness.bytes(4).toString('hex')}`
  const pair = await generate('rsa', { modulusLength: RSA_BITS })
  await writeDurably(join(restore, `${name}.pem`), guardedPem(pair.privateKey))
  await writeDurably(
    join(writer, `${name}.pub.pem`),
    pair.publicKey.export({ type: 'spki', format: 'pem' }).toString(),
  )
  return name
}

/** Somebody else's public key, from a PEM file. Returns the recipient's name. @throws TidemarkError KEY_FILE_INVALID */
export async function addRecipient(keys: KeysFolder, file: string, name: string): Promise<string> {
  const writer = await ownSide(keys, 'writer')
  const full = fullName(name)
  const text = await readFile(file, 'utf8').catch((error: unknown) => {
    throw new TidemarkError('KEY_FILE_INVALID', `${file} cannot be read`, { cause: error })
  })
  if (text.includes('PRIVATE KEY'))
    throw new TidemarkError(
      'KEY_FILE_INVALID',
      `${file} holds a private key: it does not belong on a writer`,
      { next: 'give the public key (openssl pkey -in FILE -pubout)' },
    )
  let key
  try {
    key = createPublicKey(text)
  } catch (error) {
    throw new TidemarkError('KEY_FILE_INVALID', `${file} is no public key in PEM form`, { cause: error })
  }
  const bits = key.asymmetricKeyDetails?.modulusLength ?? 0
  if (key.asymmetricKeyType !== 'rsa' || bits < RSA_BITS)
    throw new TidemarkError('KEY_FILE_INVALID', `${file} is no RSA key of at least ${RSA_BITS} bits`)
  await writeDurably(join(writer, `${full}.pub.pem`), key.export({ type: 'spki', format: 'pem' }).toString())
  return full
}

/**
 * A key in AWS KMS or Vault: both sides know where it lies, and each has its own rights there. Asked to seal something before anything is
 * written: with a recipient that cannot be reached, a writer could seal nothing more. Returns the recipient's name.
 *
 * @throws TidemarkError KEY_REFUSED, KEY_UNREACHABLE
 */
export async function addServiceRecipient(keys: KeysFolder, key: ServiceKey, name: string): Promise<string> {
  const full = fullName(name)
  const ending = 'kms' in key ? '.kms.json' : '.vault.json'
  const found = parseServiceKey(key, full)
  const exposed = 'vault' in found ? clearService(found.vault.address) : undefined
  if (exposed !== undefined)
    throw new TidemarkError('KEY_EXPOSED', exposed.what, { next: 'the same with its https address' })
  const writer = await ownSide(keys, 'writer')
  await new RecipientKeys([serviceRecipientOf(found, full, writer, false)]).seal(Buffer.alloc(32), {
    kind: 'probe',
    object: full,
  })
  const text = `${JSON.stringify(key, undefined, 2)}\n`
  await writeDurably(join(writer, full + ending), text)
  const restore = await ownSide(keys, 'restore').catch(() => undefined)
  if (restore !== undefined) await writeDurably(join(restore, full + ending), text)
  return full
}

function fullName(name: string): string {
  const full = name.startsWith('recipient-') ? name : `recipient-${name}`
  if (!NAME.test(full))
    throw new TidemarkError('USAGE', "a recipient's name has small letters, digits and dashes, at most 40")
  return full
}

/** Nothing more is sealed for it. The private key, wherever it is, opens what was sealed for it before. */
export async function removeRecipient(keys: KeysFolder, name: string): Promise<void> {
  const writer = await ownSide(keys, 'writer')
  for (const ending of ['.pub.pem', '.aes256', '.kms.json', '.vault.json']) {
    const path = join(writer, name + ending)
    if (
      NAME.test(name) &&
      (await access(path).then(
        () => true,
        () => false,
      ))
    ) {
      await unlink(path)
      return
    }
  }
  throw new TidemarkError('KEY_MISSING', `there is no recipient ${name.slice(0, 60)} in ${writer}`, {
    next: 'tidemark keys list',
  })
}
