/**
 * The keys folder that `init` writes:
 *
 *   writer/   signer.pem (Ed25519, signs what the writer appends), recipient-*.pub.pem (public), trust.json
 *   restore/  signer.pem (the keeper's), recipient-*.pem (private: opens the backup; to be moved away), trust.json
 *
 * trust.json holds the stream's id, the genesis entry's hash and the signers' public keys: every command checks the
 * store against it, so that another installation's bucket, or a forged ledger, is noticed.
 */
import { createPrivateKey, createPublicKey, generateKeyPair, type KeyObject } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { mkdir, open, readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { z } from 'zod'
import { TidemarkError } from '../../core/errors.ts'
import { clearService } from '../../core/exposure.ts'
import type { Finding } from '../../core/finding.ts'
import type { Randomness } from '../../core/clock.ts'
import type { Signer } from '../../formats/signed-line.ts'
import { RecipientKeys, type RecipientKey } from './recipient-keys.ts'
import { parseServiceKey, serviceRecipientOf } from './service-key.ts'

const generate = promisify(generateKeyPair)

const trustFile = z.object({
  stream: z.uuid(),
  genesis: z.string().regex(/^[0-9a-f]{64}$/),
  /** `from` and `to`: the first and the last ledger entry that each may sign, where it is not all of them. */
  signers: z
    .array(
      z.object({
        id: z.string(),
        role: z.enum(['writer', 'keeper']),
        publicKey: z.string(),
        from: z
          .string()
          .regex(/^\d{1,20}$/)
          .optional(),
        to: z
          .string()
          .regex(/^\d{1,20}$/)
          .optional(),
      }),
    )
    .min(1),
})

export type Trust = z.infer<typeof trustFile>
export type KeyRole = 'writer' | 'restore'
export type SignerRole = 'writer' | 'keeper'
export type RecipientKind = 'rsa' | 'aes'

export interface OpenedKeys {
  readonly trust: Trust
  readonly signer: Signer | undefined
  readonly provider: RecipientKeys
  /** A key on this side that opens what it seals: reported by `doctor` on a writer. */
  readonly writerCanRead: boolean
  /** Secrets of the folder that are less protected than they could be. */
  readonly findings: readonly Finding[]
}

export interface NewKeys {
  readonly signers: { readonly writer: Signer; readonly keeper: Signer }
  readonly publicSigners: Trust['signers']
  readonly recipients: readonly string[]
  /** Writes the folder, once the genesis entry is stored. */
  write(trust: Trust): Promise<void>
}

export interface RecipientPair {
  readonly publicKey: KeyObject
  readonly privateKey: KeyObject
}

/** An RSA recipient's: half a second of the processor. */
export function newPair(): Promise<RecipientPair> {
  return generate('rsa', { modulusLength: 3072 })
}

/** Makes fresh keys; nothing touches the disk before `write`. */
export async function newKeys(
  folder: string,
  kind: RecipientKind,
  randomness: Randomness,
  makePair = newPair,
): Promise<NewKeys> {
  const name = `recipient-${randomness.bytes(4).toString('hex')}`
  const writer = await newSigner('writer', randomness)
  const keeper = await newSigner('keeper', randomness)
  const files: { path: string; text: string }[] = [
    { path: join('writer', 'signer.pem'), text: writer.pem },
    { path: join('restore', 'signer.pem'), text: keeper.pem },
  ]
  if (kind === 'rsa') {
    const pair = await makePair()
    files.push({ path: join('restore', `${name}.pem`), text: guardedPem(pair.privateKey) })
    files.push({
      path: join('writer', `${name}.pub.pem`),
      text: pair.publicKey.export({ type: 'spki', format: 'pem' }).toString(),
    })
  } else {
    const text = `${randomness.bytes(32).toString('base64')}\n`
    files.push(
      { path: join('restore', `${name}.aes256`), text },
      { path: join('writer', `${name}.aes256`), text },
    )
  }
  return {
    signers: { writer: writer.signer, keeper: keeper.signer },
    publicSigners: [
      { id: writer.signer.id, role: 'writer', publicKey: writer.publicPem },
      { id: keeper.signer.id, role: 'keeper', publicKey: keeper.publicPem },
    ],
    recipients: [`${kind}:${name}`],
    async write(trust) {
      for (const role of ['writer', 'restore'])
        await mkdir(join(folder, role), { recursive: true, mode: 0o700 })
      for (const file of files) await writeDurably(join(folder, file.path), file.text)
      const text = `${JSON.stringify(trust, undefined, 2)}\n`
      await writeDurably(join(folder, 'writer', 'trust.json'), text)
      await writeDurably(join(folder, 'restore', 'trust.json'), text)
    },
  }
}

/** Protects private keys on disk. In a file of its own: the environment is read by more people than files are. */
function passPhrase(): string | undefined {
  const path = process.env['TIDEMARK_KEY_PASSPHRASE_FILE']
  if (path === undefined) return undefined
  let text: string
  try {
    text = readFileSync(path, 'utf8').trim()
  } catch (error) {
    throw new TidemarkError('KEY_FILE_INVALID', `the pass phrase file ${path} cannot be read`, {
      cause: error,
    })
  }
  if (text === '') throw new TidemarkError('KEY_FILE_INVALID', `the pass phrase file ${path} is empty`)
  return text
}

/** A private key for the restore side: under the pass phrase, where there is one. */
export function guardedPem(key: KeyObject): string {
  const passphrase = passPhrase()
  return key
    .export({
      type: 'pkcs8',
      format: 'pem',
      ...(passphrase === undefined ? {} : { cipher: 'aes-256-cbc', passphrase }),
    })
    .toString()
}

/** Refuses to replace: keys that are lost are lost for ever. */
export async function writeDurably(path: string, text: string): Promise<void> {
  let file
  try {
    file = await open(path, 'wx', 0o600)
  } catch (error) {
    throw new TidemarkError('KEY_FILE_INVALID', `cannot create ${path}; a keys folder is never overwritten`, {
      cause: error,
      next: 'choose another --keys folder',
    })
  }
  try {
    await file.writeFile(text)
    await file.sync()
  } finally {
    await file.close()
  }
}

export async function newSigner(
  role: SignerRole,
  randomness: Randomness,
): Promise<{ signer: Signer; pem: string; publicPem: string }> {
  const pair = await generate('ed25519')
  const id = `${role}-${randomness.bytes(4).toString('hex')}`
  return {
    signer: { id, privateKey: pair.privateKey },
    // A writer starts without anybody there to type; a keeper's key takes away, and is used by people.
    pem:
      role === 'keeper'
        ? guardedPem(pair.privateKey)
        : pair.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    publicPem: pair.publicKey.export({ type: 'spki', format: 'pem' }).toString(),
  }
}

/** Where keys are: the folder above `writer/` and `restore/`, or one side; or each side by itself. */
export type KeysFolder = string | Readonly<Record<KeyRole, string>>

/** One side, for reading. @throws TidemarkError KEY_MISSING */
export async function sideOfKeys(keys: KeysFolder, role: KeyRole): Promise<string> {
  const folder = typeof keys === 'string' ? keys : keys[role]
  const side = await firstWith([join(folder, role), folder], 'trust.json')
  if (side !== undefined) return side
  throw new TidemarkError(
    'KEY_MISSING',
    `no ${role} keys in ${folder}`,
    role === 'writer'
      ? {
          means:
            'Nothing was read or written: who writes, and who reads the ledger, needs to know whose it is.',
          next: 'bring the keys/writer folder of the host that ran tidemark up, then the same command with --keys DIR; where it is lost: tidemark keys recover-writer --store URL --keys RESTORE --out DIR  (makes another one from the restore keys)',
        }
      : {},
  )
}

/** One side, for changing it: never the other one, where that was named for both. @throws TidemarkError KEY_MISSING */
export async function ownSide(keys: KeysFolder, role: KeyRole): Promise<string> {
  const places = typeof keys === 'string' ? [join(keys, role)] : [join(keys[role], role), keys[role]]
  const side = await firstWith(places, 'trust.json')
  if (side !== undefined) return side
  throw new TidemarkError('KEY_MISSING', `no ${role} keys in ${places.at(-1) ?? ''}`, {
    next: `the same with --${role}-keys DIR`,
  })
}

/** Opens one side of a keys folder. @throws TidemarkError KEY_MISSING, KEY_FILE_INVALID */
export async function openKeys(folder: KeysFolder, role: KeyRole): Promise<OpenedKeys> {
  const side = await sideOfKeys(folder, role)
  const parsed = trustFile.safeParse(await json(join(side, 'trust.json')))
  if (!parsed.success)
    throw new TidemarkError('KEY_FILE_INVALID', `${join(side, 'trust.json')} is not understood`)
  const recipients: RecipientKey[] = []
  const findings: Finding[] = []
  let signerKey: KeyObject | undefined
  for (const file of (await readdir(side)).sort()) {
    const path = join(side, file)
    if (file === 'signer.pem') {
      const text = await readFile(path)
      signerKey = privatePem(text, path)
      if (role === 'restore' && passPhrase() !== undefined && !isGuarded(text))
        findings.push(bareKeeper(path))
    } else if (file.endsWith('.pub.pem'))
      recipients.push({
        kind: 'rsa',
        name: file.slice(0, -8),
        publicKey: publicPem(await readFile(path), path),
      })
    else if (file.endsWith('.pem')) {
      const privateKey = privatePem(await readFile(path), path)
      recipients.push({
        kind: 'rsa',
        name: file.slice(0, -4),
        publicKey: createPublicKey(privateKey),
        privateKey,
      })
    } else if (file.endsWith('.aes256')) {
      const secret = Buffer.from((await readFile(path, 'utf8')).trim(), 'base64')
      if (secret.length !== 32)
        throw new TidemarkError('KEY_FILE_INVALID', `${path} does not hold 32 bytes in base64`)
      recipients.push({ kind: 'aes', name: file.slice(0, -7), secret })
    } else if (file.endsWith('.kms.json') || file.endsWith('.vault.json')) {
      const recipient = await serviceRecipient(side, file, role)
      const exposed = recipient.kind === 'vault' ? clearService(recipient.address) : undefined
      if (exposed !== undefined) findings.push(exposed)
      recipients.push(recipient)
    }
  }
  if (recipients.length === 0) throw new TidemarkError('KEY_MISSING', `no recipient key in ${side}`)
  const provider = new RecipientKeys(recipients)
  if (role === 'restore' && !provider.canOpen)
    throw new TidemarkError('KEY_MISSING', `${side} holds public keys only; the restore folder is needed`)
  return {
    trust: parsed.data,
    signer: signerOf(signerKey, parsed.data),
    provider,
    writerCanRead: role === 'writer' && provider.canOpen,
    findings,
  }
}

function isGuarded(pem: Buffer): boolean {
  return pem.includes('ENCRYPTED PRIVATE KEY')
}

function bareKeeper(path: string): Finding {
  return {
    level: 'warn',
    code: 'KEEPER_KEY_BARE',
    what: `${path} is not under the pass phrase: whoever has the file can sign what takes away from the backup`,
    fix: 'tidemark keys rotate-signer --role keeper  (the new one is under the pass phrase)',
  }
}

async function serviceRecipient(side: string, file: string, role: KeyRole): Promise<RecipientKey> {
  const path = join(side, file)
  return serviceRecipientOf(
    parseServiceKey(await json(path), path),
    file.slice(0, file.indexOf('.')),
    side,
    role === 'restore',
  )
}

function signerOf(key: KeyObject | undefined, trust: Trust): Signer | undefined {
  if (key === undefined) return undefined
  const publicPem = createPublicKey(key).export({ type: 'spki', format: 'pem' }).toString()
  const known = trust.signers.find((signer) => signer.publicKey === publicPem)
  if (known === undefined)
    throw new TidemarkError('KEY_FILE_INVALID', 'signer.pem is not one of the signers in trust.json')
  return { id: known.id, privateKey: key }
}

export function privatePem(text: Buffer, path: string): KeyObject {
  try {
    if (!isGuarded(text)) return createPrivateKey(text)
    const passphrase = passPhrase()
    if (passphrase === undefined)
      throw new TidemarkError('KEY_FILE_INVALID', `${path} needs its pass phrase`, {
        next: 'set TIDEMARK_KEY_PASSPHRASE_FILE to a file that holds it',
      })
    return createPrivateKey({ key: text, passphrase })
  } catch (error) {
    if (error instanceof TidemarkError) throw error
    if (isGuarded(text))
      throw new TidemarkError('KEY_FILE_INVALID', `the pass phrase does not open ${path}`, {
        cause: error,
        next: 'correct what TIDEMARK_KEY_PASSPHRASE_FILE names',
      })
    throw new TidemarkError('KEY_FILE_INVALID', `${path} is no private key in PEM form`, { cause: error })
  }
}

function publicPem(text: Buffer, path: string): KeyObject {
  try {
    return createPublicKey(text)
  } catch (error) {
    throw new TidemarkError('KEY_FILE_INVALID', `${path} is no public key in PEM form`, { cause: error })
  }
}

async function json(path: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(path, 'utf8'))
  } catch (error) {
    throw new TidemarkError('KEY_FILE_INVALID', `${path} cannot be read as JSON`, { cause: error })
  }
}

async function firstWith(folders: readonly string[], file: string): Promise<string | undefined> {
  for (const folder of folders) {
    const found = await readFile(join(folder, file)).then(
      () => true,
      () => false,
    )
    if (found) return folder
  }
  return undefined
}
