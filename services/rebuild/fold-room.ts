/** Where each table's changes are folded: small ones in memory, the rest partitioned on disk (invariant 8). Pure. */
import type { SpillFile } from './spill-file.ts'

export type FoldRoom =
  | { readonly kind: 'memory' }
  | {
      readonly kind: 'disk'
      readonly partitions: number
      readonly chunkBytes: number
      readonly filterBits: number
      readonly movedKeys: number
      readonly spill: SpillFile
    }

export const IN_MEMORY: FoldRoom = { kind: 'memory' }

const MOST_PARTITIONS = 512
const CHUNK_BYTES = { least: 8 * 1024, most: 256 * 1024 }

/**
 * Fills the memory with the tables that have the fewest bytes of changes; what is left is partitioned so that a partition
 * takes an eighth of it: two tables are loaded at once, and a folded partition costs up to twice its bytes.
 *
 * @param memoryBytes for the changes of all tables together
 */
export function foldRooms(
  tables: readonly { readonly oid: number; readonly changeBytes: bigint }[],
  memoryBytes: number,
  spill: SpillFile,
): Map<number, FoldRoom> {
  const rooms = new Map<number, FoldRoom>()
  let left = memoryBytes
  for (const { oid, changeBytes } of [...tables].sort((a, b) =>
    a.changeBytes < b.changeBytes ? -1 : a.changeBytes > b.changeBytes ? 1 : a.oid - b.oid,
  )) {
    const bytes = Number(changeBytes)
    if (bytes <= left) {
      left -= bytes
      rooms.set(oid, IN_MEMORY)
      continue
    }
    left = 0
    const partitions = Math.min(MOST_PARTITIONS, Math.max(2, Math.ceil(bytes / (memoryBytes / 8))))
    const chunkBytes = Math.min(
      CHUNK_BYTES.most,
      Math.max(CHUNK_BYTES.least, Math.floor(memoryBytes / 16 / partitions)),
    )
    // An eighth of the memory for keys that moved (about 100 bytes each), a 32nd for the filter.
    const movedKeys = Math.max(64, Math.floor(memoryBytes / 800))
    const filterBits = 2 ** Math.max(12, Math.floor(Math.log2(memoryBytes / 4)))
    rooms.set(oid, { kind: 'disk', partitions, chunkBytes, filterBits, movedKeys, spill })
  }
  return rooms
}
