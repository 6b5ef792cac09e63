/** What can be restored: windows, markers and gaps, from the ledger alone. */
import { formatLsn, parseLsn } from '../core/position.ts'
import { gapEnd } from '../repository/gap-end.ts'
import type { Repository } from '../repository/repository.ts'
import { markerText, offered, pointText, restorableRanges } from '../repository/restorable.ts'

/** Every point of it can be restored; `to` is the last one. As `restore --at` takes them. */
export interface WindowReport {
  readonly generation: number
  /** Times are null inside of a generation, at the edges of gaps. */
  readonly from: { readonly position: string; readonly time: string | null }
  readonly to: {
    readonly position: string
    readonly time: string | null
    readonly lastCommittedAt: string | null
  }
  /** Tables that have a gap there: a restore takes `--except-table` with each. */
  readonly without: readonly string[]
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
    /** As `--at` takes it: with its generation where another has the name too. */
    readonly point: string
    readonly position: string
    readonly writtenAt: string
    readonly restorable: boolean
    readonly without: readonly string[]
  }[]
  readonly bases: readonly {
    readonly id: string
    readonly closing: string
    readonly writtenAt: string
    readonly tables: number
    readonly rows: string
    readonly bytes: string
    /** Its closing position. */
    readonly restorable: boolean
    readonly without: readonly string[]
  }[]
}

export function readWindows(repository: Repository): WindowsReport {
  const { catalog } = repository
  const windows = catalog.generations.flatMap((generation) =>
    restorableRanges(catalog, generation).map(
      ({ from, to, fromTime, toTime, without }): WindowReport => ({
        generation: generation.facts.generation,
        from: { position: pointText(catalog, generation, from), time: fromTime ?? null },
        to: {
          position: pointText(catalog, generation, to),
          time: toTime ?? null,
          lastCommittedAt: (to === generation.end ? generation.lastCommittedAt : undefined) ?? null,
        },
        without,
      }),
    ),
  )
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
    g.markers.map(({ body, writtenAt }) => {
      const at = parseLsn(body.at)
      return {
        name: body.name,
        point: markerText(catalog, g, body.name),
        position: pointText(catalog, g, at),
        writtenAt,
        ...offered(catalog, g, at),
      }
    }),
  )
  const bases = catalog.generations.flatMap((g) =>
    g.bases.map((b) => ({
      id: b.id,
      closing: pointText(catalog, g, b.closing),
      writtenAt: b.writtenAt,
      tables: b.tables.length,
      rows: b.entry.rows,
      bytes: b.entry.bytes,
      ...offered(catalog, g, b.closing),
    })),
  )
  return { windows, gaps, markers, bases }
}
