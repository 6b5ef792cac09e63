/** A writer's folder, made again from the restore keys: the old one is lost, and with it nothing that those do not have. */
import { createPublicKey } from 'node:crypto'
import { mkdir, readdir, readFile, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { TidemarkError } from '../../core/errors.ts'
import { privatePem, type Trust, writeDurably } from './key-folder.ts'
import type { NextSigner } from './signer-files.ts'

const PRIVATE = /^(recipient-[a-z0-9-]{1,40})\.pem$/
const SAME = /^(recipient-[a-z0-9-]{1,40})\.(?:aes256|kms\.json|vault\.json)$/

/** Makes the place for it. @throws TidemarkError KEY_FILE_INVALID where a whole folder of keys is there */
export async function beginWriterFolder(folder: string): Promise<void> {
  const side = join(folder, 'writer')
  await mkdir(side, { recursive: true, mode: 0o700 })
  if ((await readdir(side)).includes('trust.json'))
    throw new TidemarkError('KEY_FILE_INVALID', `${side} holds a writer's keys already`, {
      next: 'the same with another --out DIR',
    })
}

/**
 * Whom the restore keys can let a writer seal for again: their public halves. A try that was cut off may have made some of them.
 *
 * @param wanted names of recipients
 * @param restoreSide where the private keys lie
 * @returns those that were found
 */
export async function bringRecipients(
  restoreSide: string,
  folder: string,
  wanted: ReadonlySet<string>,
): Promise<readonly string[]> {
  const side = join(folder, 'writer')
  const there = new Set(await readdir(side))
  const found: string[] = []
  for (const file of (await readdir(restoreSide)).sort()) {
    const name = (PRIVATE.exec(file) ?? SAME.exec(file))?.[1]
    if (name === undefined || !wanted.has(name)) continue
    const path = join(restoreSide, file)
    const bytes = await readFile(path)
    const isPrivate = PRIVATE.test(file)
    const made = isPrivate ? `${name}.pub.pem` : file
    if (!there.has(made))
      await writeDurably(
        join(side, made),
        isPrivate
          ? createPublicKey(privatePem(bytes, path)).export({ type: 'spki', format: 'pem' }).toString()
          : bytes.toString('utf8'),
      )
    found.push(name)
  }
  return found
}

/** The ledger knows of the signer. What says that the folder is whole comes last. */
export async function finishWriterFolder(folder: string, { id }: NextSigner, trust: Trust): Promise<void> {
  const side = join(folder, 'writer')
  await rename(join(side, `next-signer-${id}.key`), join(side, 'signer.pem'))
  await writeDurably(join(side, 'trust.json'), `${JSON.stringify(trust, undefined, 2)}\n`)
}
