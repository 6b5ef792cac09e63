/**
 * A store that keeps less than the backup has (a local disk, an edge site) says so itself, signed by a keeper: from where on it is
 * whole. Readers of that store alone begin there, and nobody puts back what lies before.
 */
import { z } from 'zod'
import { TidemarkError } from '../core/errors.ts'
import type { ObjectStore } from '../core/ports/object-store.ts'
import { count } from '../formats/entry-fields.ts'
import { floor as floorText, type FloorText } from '../formats/ledger-entry.ts'
import { openSignedLine, signLine, type Signer } from '../formats/signed-line.ts'
import { TRIMS, trimName } from '../formats/object-name.ts'
import { type Floor, parseFloor } from './floor.ts'
import type { Ledger } from './ledger.ts'

const mark = z.object({
  version: z.literal(1),
  stream: z.uuid(),
  /** The ledger's head when it was made. */ number: count,
  floor: floorText,
})

/** The newest mark; undefined in a store that keeps everything. @throws TidemarkError LEDGER_BROKEN where it was altered */
export async function readTrim(
  store: ObjectStore,
  ledger: Ledger,
  stream: string,
): Promise<Floor | undefined> {
  for await (const name of store.list(TRIMS)) {
    const broken = (what: string, cause?: unknown): TidemarkError =>
      new TidemarkError('LEDGER_BROKEN', `${name} in ${store.place}: ${what}`, { cause })
    const { json, signer } = openSignedLine(await store.get(name), ledger.signers, broken)
    const parsed = mark.safeParse(json)
    if (!parsed.success || parsed.data.stream !== stream) throw broken('it is not of this backup')
    const refusal = ledger.signers.refusal(signer, BigInt(parsed.data.number), 'retire')
    if (refusal !== undefined) throw broken(`${signer} ${refusal}`)
    return parseFloor(parsed.data.floor)
  }
  return undefined
}

/** Before anything is taken away. */
export async function writeTrim(
  store: ObjectStore,
  ledger: Ledger,
  stream: string,
  floor: FloorText,
  signer: Signer,
): Promise<void> {
  const number = ledger.headNumber
  const older: string[] = []
  for await (const name of store.list(TRIMS)) older.push(name)
  await store.putIfAbsent(trimName(number), [
    signLine({ version: 1, stream, number: number.toString(), floor }, signer),
  ])
  for (const name of older) if (name !== trimName(number)) await store.remove(name)
}
