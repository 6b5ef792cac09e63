/**
 * The signing key of one side, replaced. The new key lies beside the old one until the ledger knows of it, so that a crash anywhere
 * leaves a folder that signs with what the ledger takes, and the same command again finishes what was begun.
 */
import { createPublicKey } from 'node:crypto'
import { open, readdir, readFile, rename } from 'node:fs/promises'
import { join } from 'node:path'
import type { Randomness } from '../../core/clock.ts'
import { TidemarkError } from '../../core/errors.ts'
import {
  type KeysFolder,
  newSigner,
  ownSide,
  privatePem,
  type SignerRole,
  type Trust,
  writeDurably,
} from './key-folder.ts'

const NEXT = /^next-signer-((?:writer|keeper)-[0-9a-f]{8})\.key$/

export interface NextSigner {
  readonly id: string
  readonly publicKey: string
}

function sideOf(role: SignerRole): 'writer' | 'restore' {
  return role === 'writer' ? 'writer' : 'restore'
}

/** The one that an earlier try has left, or a new one. */
export async function nextSigner(
  keys: KeysFolder,
  role: SignerRole,
  randomness: Randomness,
): Promise<NextSigner> {
  // A folder that is being made has no trust.json yet.
  const side = typeof keys === 'string' ? join(keys, sideOf(role)) : await ownSide(keys, sideOf(role))
  const files = await readdir(side).catch((error: unknown) => {
    throw new TidemarkError('KEY_MISSING', `no ${sideOf(role)} keys in ${side}`, { cause: error })
  })
  const left = files.map((file) => NEXT.exec(file)).find((match) => match !== null)
  if (left !== undefined && left !== null) {
    const path = join(side, left[0])
    const key = privatePem(await readFile(path), path)
    return {
      id: left[1]!,
      publicKey: createPublicKey(key).export({ type: 'spki', format: 'pem' }).toString(),
    }
  }
  const made = await newSigner(role, randomness)
  await writeDurably(join(side, `next-signer-${made.signer.id}.key`), made.pem)
  return { id: made.signer.id, publicKey: made.publicPem }
}

/** The ledger knows of it: both sides trust it, and then its own side signs with it. */
export async function installSigner(
  keys: KeysFolder,
  role: SignerRole,
  next: NextSigner,
  trust: Trust,
): Promise<void> {
  const text = `${JSON.stringify(trust, undefined, 2)}\n`
  for (const side of ['writer', 'restore'] as const)
    await replaceDurably(await ownSide(keys, side), 'trust.json', text)
  const side = await ownSide(keys, sideOf(role))
  await rename(join(side, `next-signer-${next.id}.key`), join(side, 'signer.pem'))
  await syncFolder(side)
}

async function replaceDurably(side: string, name: string, text: string): Promise<void> {
  const temporary = join(side, `.${name}.new`)
  const file = await open(temporary, 'w', 0o600)
  try {
    await file.writeFile(text)
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(temporary, join(side, name))
  await syncFolder(side)
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}
