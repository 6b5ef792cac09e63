/**
 * The lane of a row: murmur2 (as Kafka's own clients compute it) over its partition-key columns, modulo the number of
 * partitions. Each column goes in as a 4-byte big-endian length and the server's text in UTF-8 (length -1 for null).
 * Computed here and sent explicitly: a key's bytes hold a schema id, which would scatter equal values.
 */

/** Kafka's murmur2, seed 0x9747b28c; a signed 32-bit number. */
function murmur2(data: Buffer): number {
  const m = 0x5bd1e995
  const length = data.length
  let h = 0x9747b28c ^ length
  const words = length >>> 2
  for (let i = 0; i < words; i++) {
    let k = data.readInt32LE(i * 4)
    k = Math.imul(k, m)
    k ^= k >>> 24
    k = Math.imul(k, m)
    h = Math.imul(h, m) ^ k
  }
  const rest = words * 4
  const left = length & 3
  if (left > 2) h ^= data[rest + 2]! << 16
  if (left > 1) h ^= data[rest + 1]! << 8
  if (left > 0) h = Math.imul(h ^ data[rest]!, m)
  h ^= h >>> 13
  h = Math.imul(h, m)
  return h ^ (h >>> 15)
}

export function laneOf(key: Buffer, lanes: number): number {
  return (murmur2(key) & 0x7fffffff) % lanes
}
