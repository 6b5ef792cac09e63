/** Names of objects in a store. The range is in the name, fixed width, so that names sort as positions do. */
import type { Lsn } from '../core/position.ts'

/** Stands in every store that is filled from another one: nothing is appended there until it is promoted. */
export const COPY_MARK = 'role/copy'

export function ledgerName(lineage: number, number: bigint): string {
  return `ledger/${lineage}/${number.toString().padStart(16, '0')}.json`
}

export function ledgerPrefix(lineage: number): string {
  return `ledger/${lineage}/`
}

/** The number in a ledger object's name, or undefined for another object. */
export function ledgerNumber(name: string): bigint | undefined {
  const match = /\/(\d{16,})\.json$/.exec(name)
  return match === null ? undefined : BigInt(match[1]!)
}

/** Newest first: a listing's first name is the latest checkpoint. */
export function checkpointName(lineage: number, number: bigint): string {
  return `${checkpointPrefix(lineage)}${(LAST_NUMBER - number).toString().padStart(16, '0')}.json`
}

export function checkpointPrefix(lineage: number): string {
  return `checkpoints/${lineage}/`
}

/** The number of the ledger's checkpoint entry in the name of a hint. */
export function checkpointNumber(name: string): bigint | undefined {
  const match = /^checkpoints\/\d+\/(\d{16})\.json$/.exec(name)
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

function wide(lsn: Lsn): string {
  return lsn.toString(16).padStart(16, '0')
}

export function segmentName(generation: number, lane: number, from: Lsn, to: Lsn, part: number, nonce: string): string {
  return `segments/g${generation}/l${lane}/${wide(from)}-${wide(to)}-${String(part).padStart(4, '0')}-${nonce}.avro`
}

/** While a transaction of many objects is open its end is not known to be last; the name carries its commit LSN anyway. */
export function indexName(generation: number, lane: number, from: Lsn, to: Lsn, nonce: string): string {
  return `segments/g${generation}/l${lane}/${wide(from)}-${wide(to)}-${nonce}.index`
}

export function basePartName(generation: number, base: string, oid: number, part: number, nonce: string): string {
  return `base/g${generation}/${base}/${oid}-${String(part).padStart(5, '0')}-${nonce}.avro`
}

export function tableVersionName(generation: number, base: string, oid: number, nonce: string): string {
  return `base/g${generation}/${base}/${oid}-${nonce}.table`
}

export function schemaName(generation: number, at: Lsn, nonce: string): string {
  return `schema/g${generation}/${wide(at)}-${nonce}.schema`
}

export function sequencesName(generation: number, at: Lsn, nonce: string): string {
  return `schema/g${generation}/${wide(at)}-${nonce}.sequences`
}

export function keyName(key: string): string {
  return `keys/${key}.key`
}
