/** What can be restored: windows, markers and gaps, from the ledger alone. */
import { formatLsn } from '../core/position.ts'
import { gapEnd } from '../repository/gap-end.ts'
import type { Repository } from '../repository/repository.ts'
import { closedAt, reachedAt } from '../repository/source-time.ts'

export interface WindowReport {
  readonly generation: number
  readonly from: { readonly position: string; readonly time: string }
  readonly to: { readonly position: string; readonly time: string; readonly lastCommittedAt: string | null }
}

export interface GapReport {
  readonly id: string
  readonly generation: number
  readonly scope: string
  readonly from: string
  readonly to: string | null
  /** The generation that `to` is a position of. */
  readonly toGeneration: number | null
  /** Whether points at the end of the backup lie in it. */
  readonly open: boolean
  readonly reason: string
}

export interface WindowsReport {
  readonly windows: readonly WindowReport[]
  readonly gaps: readonly GapReport[]
  readonly markers: readonly {
    readonly name: string
    readonly position: string
    readonly writtenAt: string
  }[]
  readonly bases: readonly {
    readonly id: string
    readonly closing: string
    readonly writtenAt: string
    readonly tables: number
    readonly rows: string
    readonly bytes: string
  }[]
}

export function readWindows(repository: Repository): WindowsReport {
  const { catalog } = repository
  const windows = catalog.generations.flatMap((generation): WindowReport[] => {
    const first = generation.bases[0]
    if (first === undefined) return []
    return [
      {
        generation: generation.facts.generation,
        from: { position: formatLsn(first.closing), time: closedAt(first) },
        to: {
          position: formatLsn(generation.end),
          time: reachedAt(generation),
          lastCommittedAt: generation.lastCommittedAt ?? null,
        },
      },
    ]
  })
  const gaps = catalog.gaps.map((gap): GapReport => {
    const end = gapEnd(catalog, gap)
    return {
      id: gap.id,
      generation: gap.generation,
      scope: gap.scope.kind === 'stream' ? 'stream' : `${gap.scope.schema}.${gap.scope.name}`,
      from: formatLsn(gap.from),
      to: end === undefined ? null : formatLsn(end.at),
      toGeneration: end?.generation ?? null,
      open: end === undefined,
      reason: gap.reason,
    }
  })
  const markers = catalog.generations.flatMap((g) =>
    g.markers.map((m) => ({ name: m.body.name, position: m.body.at, writtenAt: m.writtenAt })),
  )
  const bases = catalog.generations.flatMap((g) =>
    g.bases.map((b) => ({
      id: b.id,
      closing: formatLsn(b.closing),
      writtenAt: b.writtenAt,
      tables: b.tables.length,
      rows: b.entry.rows,
      bytes: b.entry.bytes,
    })),
  )
  return { windows, gaps, markers, bases }
}
