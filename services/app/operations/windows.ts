/** What can be restored: windows, markers and gaps, from the ledger alone. */
import { parsePosition, positionText } from '../../core/position.ts'
import { gapEnd } from '../../repository/gap-end.ts'
import type { Repository } from '../../repository/repository.ts'
import { damageAt, damagedRanges } from '../../repository/damaged-ranges.ts'
import { markerText, offered, pointText, restorableRanges } from '../../repository/restorable.ts'

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

/** Points that need what is known to be damaged or missing in every store. */
export interface DamagedReport {
  readonly generation: number
  readonly from: string
  /** Included. */
  readonly to: string
  readonly objects: readonly string[]
  readonly what: string
}

export interface WindowsReport {
  readonly windows: readonly WindowReport[]
  readonly gaps: readonly GapReport[]
  readonly damaged: readonly DamagedReport[]
  readonly markers: readonly {
    readonly name: string
    /** As `--at` takes it: with its generation where another has the name too. */
    readonly point: string
    readonly position: string
    readonly writtenAt: string
    readonly restorable: boolean
    readonly without: readonly string[]
    /** A restore of it needs what no store has. */
    readonly damaged: boolean
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
    /** A restore of it needs what no store has. */
    readonly damaged: boolean
  }[]
}

export function readWindows(repository: Repository): WindowsReport {
  const { catalog } = repository
  const ranges = damagedRanges(repository)
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
      from: positionText(gap.from),
      to: end === undefined ? null : positionText(end.at),
      toGeneration: end?.generation ?? null,
      open: end === undefined,
      reason: gap.reason,
    }
  })
  const markers = catalog.generations.flatMap((g) =>
    g.markers.map(({ body, writtenAt }) => {
      const at = parsePosition(body.at)
      return {
        name: body.name,
        point: markerText(catalog, g, body.name),
        position: pointText(catalog, g, at),
        writtenAt,
        ...offered(catalog, g, at),
        damaged: damageAt(ranges, g, at).length > 0,
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
      damaged: damageAt(ranges, g, b.closing).length > 0,
    })),
  )
  const damaged = ranges.map(
    ({ generation, from, to, objects }): DamagedReport => ({
      generation: generation.facts.generation,
      from: pointText(catalog, generation, from),
      to: pointText(catalog, generation, to),
      objects: objects.map(({ object }) => object),
      what: objects[0]!.what,
    }),
  )
  return { windows, gaps, damaged, markers, bases }
}
