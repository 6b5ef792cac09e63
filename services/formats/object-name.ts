/** Names of objects in a store. The range is in the name, fixed width, so that names sort as positions do. */
import type { Position } from '../core/position.ts'

/** Stands in every store that is filled from another one: nothing is appended there until it is promoted. */
export const COPY_MARK = 'role/copy'

export function ledgerName(lineage: number, number: bigint): string {
  return `ledger/${lineage}/${number.toString().padStart(16, '0')}.json`
}

export function ledgerPrefix(lineage: number): string {
  return `ledger/${lineage}/`
}

/** An entry of an older lineage that its store has set aside. */
export function orphanName(lineage: number, number: bigint): string {
  return `${ORPHANS}${lineage}/${number.toString().padStart(16, '0')}.entry`
}

export const ORPHANS = 'orphans/'

/** @param name under `orphans/` */
export function orphanNumber(name: string): bigint {
  return BigInt(/(\d+)\.entry$/.exec(name)?.[1] ?? '0')
}

/** The number in a ledger object's name, or undefined for another object: hints of checkpoints end in digits too. */
export function ledgerNumber(name: string): bigint | undefined {
  const match = /^ledger\/\d+\/(\d{16,})\.json$/.exec(name)
  return match === null ? undefined : BigInt(match[1]!)
}

/** Newest first: a listing's first name is the latest checkpoint. */
export function checkpointName(lineage: number, number: bigint): string {
  return `${checkpointPrefix(lineage)}${(LAST_NUMBER - number).toString().padStart(16, '0')}.json`
}

export function checkpointPrefix(lineage: number): string {
  return `checkpoints/${lineage}/`
}

/** Of a checkpoint that a keeper signed, who had proven the ledger up to it. Newest first. */
export function proofName(lineage: number, number: bigint): string {
  return `${proofPrefix(lineage)}${(LAST_NUMBER - number).toString().padStart(16, '0')}.json`
}

export function proofPrefix(lineage: number): string {
  return `proofs/${lineage}/`
}

/** The number of the ledger's checkpoint entry in the name of a hint. */
export function checkpointNumber(name: string): bigint | undefined {
  const match = /^(?:checkpoints|proofs)\/\d+\/(\d{16})\.json$/.exec(name)
  return match === null ? undefined : LAST_NUMBER - BigInt(match[1]!)
}

/** Newest first, like checkpoints; several backups may be anchored at one place. */
export function anchorName(stream: string, number: bigint): string {
  return `${anchorPrefix(stream)}${(LAST_NUMBER - number).toString().padStart(16, '0')}.json`
}

export function anchorPrefix(stream: string): string {
  return `anchors/${stream}/`
}

const LAST_NUMBER = 9_999_999_999_999_999n

export function rootName(lineage: number, number: bigint, nonce: string): string {
  return `index/${lineage}/${number.toString().padStart(16, '0')}-${nonce}.root`
}

export function pageName(lineage: number, from: bigint, to: bigint, nonce: string): string {
  return `index/${lineage}/${from.toString().padStart(16, '0')}-${to.toString().padStart(16, '0')}-${nonce}.page`
}

function wide(position: Position): string {
  return position.toString(16).padStart(16, '0')
}

export function segmentName(
  generation: number,
  lane: number,
  from: Position,
  to: Position,
  part: number,
  nonce: string,
): string {
  return `segments/g${generation}/l${lane}/${wide(from)}-${wide(to)}-${String(part).padStart(4, '0')}-${nonce}.avro`
}

/** While a transaction of many objects is open its end is not known to be last; the name carries its position anyway. */
export function indexName(
  generation: number,
  lane: number,
  from: Position,
  to: Position,
  nonce: string,
): string {
  return `segments/g${generation}/l${lane}/${wide(from)}-${wide(to)}-${nonce}.index`
}

export function basePartName(
  generation: number,
  base: string,
  oid: number,
  part: number,
  nonce: string,
): string {
  return `base/g${generation}/${base}/${oid}-${String(part).padStart(5, '0')}-${nonce}.avro`
}

export function tableVersionName(generation: number, base: string, oid: number, nonce: string): string {
  return `base/g${generation}/${base}/${oid}-${nonce}.table`
}

export function schemaName(generation: number, at: Position, nonce: string): string {
  return `schema/g${generation}/${wide(at)}-${nonce}.schema`
}

export function sequencesName(generation: number, at: Position, nonce: string): string {
  return `schema/g${generation}/${wide(at)}-${nonce}.sequences`
}

export function keyName(key: string): string {
  return `keys/${key}.key`
}

export function retiredDdlName(generation: number, before: Position, nonce: string): string {
  return `retired/g${generation}/${wide(before)}-${nonce}.ddl`
}

/** Newest first. Stands in a store that keeps less than the backup has, and in no other. */
export function trimName(number: bigint): string {
  return `${TRIMS}${(LAST_NUMBER - number).toString().padStart(16, '0')}.json`
}

export const TRIMS = 'trims/'

/** What an object's name says of where it belongs in time; undefined for those that belong to no time. */
export type NamedPlace =
  | {
      readonly kind: 'changes' | 'schema' | 'sequences' | 'ddl'
      readonly generation: number /** Of changes: where their cut begins, exclusive. The end in the name is not the cut's, where a large transaction is stored before it ends. */
      readonly at: Position
    }
  | { readonly kind: 'copy'; readonly generation: number; readonly base: string }
  | {
      readonly kind: 'root' | 'page' | 'hint' /** Of the newest ledger entry that it tells of. */
      readonly number: bigint
    }

export function namedPlace(name: string): NamedPlace | undefined {
  const [, kind, generation, rest] = /^(segments|base|schema|retired)\/g(\d{1,9})\/(.+)$/.exec(name) ?? []
  if (kind === 'base')
    return { kind: 'copy', generation: Number(generation), base: rest!.slice(0, rest!.indexOf('/')) }
  if (kind !== undefined) {
    const [, at] = /(?:^|\/)([0-9a-f]{16})-[^/]*$/.exec(rest!) ?? []
    if (at === undefined) return undefined
    const what =
      kind === 'segments'
        ? 'changes'
        : kind === 'retired'
          ? 'ddl'
          : name.endsWith('.sequences')
            ? 'sequences'
            : 'schema'
    return { kind: what, generation: Number(generation), at: BigInt(`0x${at}`) as Position }
  }
  const [, numbers, ending] = /^index\/\d+\/([0-9-]{16,33})-[^/]*\.(root|page)$/.exec(name) ?? []
  if (ending !== undefined)
    return { kind: ending as 'root' | 'page', number: BigInt(numbers!.split('-').at(-1)!) }
  const hint = name.startsWith('proofs/') ? undefined : checkpointNumber(name)
  return hint === undefined ? undefined : { kind: 'hint', number: hint }
}

/** Objects that are many and large, and of which a restore reads few: those that a cheaper storage class is for. */
export function isBulk(name: string): boolean {
  return name.startsWith('segments/') || name.startsWith('base/')
}

/** Below it is what a store was tried with: where nothing can be taken away, some of it stays. */
export const PROBES = 'probe/'

export function isProbe(name: string): boolean {
  return name.startsWith(PROBES)
}

/** Objects that come and go, and are locked by nobody. */
export function isPassing(name: string): boolean {
  return isProbe(name) || name.startsWith('role/') || name.startsWith(TRIMS)
}
