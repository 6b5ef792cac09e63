/**
 * A signed file: canonical JSON (RFC 8785) in one line, and in a second one who signed it and the Ed25519 signature over the bytes of the
 * first. What is parsed is the very line that was verified.
 */
import { type KeyObject, sign as signBytes, verify as verifyBytes } from 'node:crypto'
import canonicalizeModule from 'canonicalize'
import { z } from 'zod'
import { TidemarkError } from '../core/errors.ts'

const canonicalize = canonicalizeModule as unknown as (value: unknown) => string | undefined
const seal = z.object({ signer: z.string(), signature: z.string() })

export interface Signer {
  readonly id: string
  readonly privateKey: KeyObject
}

/** Public keys of those who may sign. */
export interface SignerKeys {
  get(id: string): KeyObject | undefined
  /** Why somebody may not sign the entry of a number and kind, to be said behind his name; undefined where he may. */
  refusal(id: string, number: bigint, kind: string | undefined): string | undefined
}

/** Canonical JSON and, in a second line, the signature over its bytes. */
export function signLine(value: unknown, signer: Signer): Buffer {
  const line = canonicalize(value)
  if (line === undefined) throw new TidemarkError('INTERNAL', 'an entry that is no JSON')
  const bytes = Buffer.from(line, 'utf8')
  const signature = signBytes(null, bytes, signer.privateKey).toString('base64')
  return Buffer.concat([bytes, Buffer.from(`\n${canonicalize({ signer: signer.id, signature })}\n`, 'utf8')])
}

/** The JSON of a signed line, and who signed it. @param broken makes the error for what is wrong */
export function openSignedLine(
  file: Buffer,
  signers: Pick<SignerKeys, 'get'>,
  broken: (what: string, cause?: unknown) => TidemarkError,
): { readonly json: unknown; readonly signer: string } {
  const cut = file.indexOf(10)
  if (cut < 0 || file[file.length - 1] !== 10) throw broken('the file is cut short')
  const line = file.subarray(0, cut)
  let sealed: z.infer<typeof seal>
  let json: unknown
  try {
    sealed = seal.parse(JSON.parse(file.subarray(cut + 1).toString('utf8')))
    json = JSON.parse(line.toString('utf8'))
  } catch (error) {
    throw broken('it is not JSON', error)
  }
  const key = signers.get(sealed.signer)
  if (key === undefined)
    throw broken(`signed by ${sealed.signer.slice(0, 40)}, who is no signer of this backup`)
  if (!verifyBytes(null, line, key, Buffer.from(sealed.signature, 'base64')))
    throw broken('the signature does not fit: it was altered')
  if (canonicalize(json) !== line.toString('utf8')) throw broken('it is not canonical JSON')
  // One signature has one form: the last bits of its base64 mean nothing, and would give the same entry another hash.
  const { signer } = sealed
  const signature = Buffer.from(sealed.signature, 'base64').toString('base64')
  if (file.subarray(cut + 1).toString('utf8') !== `${canonicalize({ signer, signature })}\n`)
    throw broken('the line of its signature was altered')
  return { json, signer: sealed.signer }
}
