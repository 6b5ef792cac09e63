/** How the backup stands: what is durable, how far behind the source it is, and how long the source's WAL budget lasts. */
import type { Clock } from '../../core/clock.ts'
import { isErrorCode } from '../../core/error-codes.ts'
import { asTidemarkError, TidemarkError } from '../../core/errors.ts'
import type { Position } from '../../core/position.ts'
import type { Generation } from '../../repository/generation.ts'
import type { Repository } from '../../repository/repository.ts'
import { openAdmin } from '../wiring/source-admin.ts'
import { type DamageReport, readDamage } from './damage-report.ts'
import { type AskedSource, examineSource, unfitness } from './examine-source.ts'
import { type Known, knownOf } from './protection.ts'
import { type GapReport, readWindows, type WindowReport } from './windows.ts'

export interface Lag {
  /** WAL between the source's head and what is durable. */
  readonly bytes: number
  /** Age of the newest durable entry while the source is ahead; 0 when nothing is missing. */
  readonly seconds: number
}

interface Budget {
  /** Bytes of WAL that may still be written before the slot is lost; null without a limit. */
  readonly bytes: number | null
  readonly walBytesPerSecond: number
  /** At the current rate; null without a limit or without writing. */
  readonly seconds: number | null
}

export interface StatusReport {
  readonly window: {
    readonly from: string | null
    readonly to: string | null
    readonly fromTime: string | null
    readonly toTime: string | null
  }
  /** Behind the window, where tables have a gap: what a restore takes without them; null where there is no such place. */
  readonly partly: WindowReport | null
  readonly lag: Lag | null
  /** Up to when all is durable, and since when that is so; null where the source was not asked, and before the first base. */
  readonly known: Known | null
  readonly gaps: readonly GapReport[]
  readonly budget: Budget | null
  readonly slot: { readonly name: string; readonly active: boolean; readonly walStatus: string } | null
  readonly generation: number | null
  readonly bytesStored: string
  readonly damage: DamageReport
  /** Why there are no figures of the source; or why `up` will not go on with it. */
  readonly sourceError: { readonly code: string; readonly message: string } | null
}

export async function readStatus(
  repository: Repository,
  source: AskedSource | undefined,
): Promise<StatusReport> {
  const { windows, gaps } = readWindows(repository)
  const last = windows.findLast(({ without }) => without.length === 0)
  const newest = windows.at(-1)
  const { generation } = repository.catalog
  let live: LiveSource | undefined
  let sourceError: StatusReport['sourceError'] = null
  if (source !== undefined && generation !== undefined) {
    let trouble: TidemarkError | undefined
    try {
      live = await askSource(source.url, generation, repository.clock)
      trouble = (await examineSource(source, repository, true)) ?? (await unfit(source.url, generation))
    } catch (error) {
      trouble = asTidemarkError(error)
    }
    if (trouble !== undefined) sourceError = { code: trouble.code, message: trouble.message }
  }
  let bytes = 0n
  for (const g of repository.catalog.generations) {
    bytes += g.segments.bytes
    for (const { body } of g.tables.values()) for (const part of body.parts) bytes += BigInt(part.bytes)
  }
  return {
    window: {
      from: last?.from.position ?? null,
      to: last?.to.position ?? null,
      fromTime: last?.from.time ?? null,
      toTime: last?.to.time ?? null,
    },
    partly: newest === undefined || newest === last ? null : newest,
    lag: live?.lag ?? null,
    known: live?.known ?? null,
    gaps,
    budget: live?.budget ?? null,
    slot: live?.slot ?? null,
    generation: generation?.facts.generation ?? null,
    bytesStored: String(bytes),
    damage: readDamage(repository),
    sourceError,
  }
}

async function unfit(url: string, { facts }: Generation): Promise<TidemarkError | undefined> {
  const found = await unfitness(openAdmin({ url, names: facts.origin }))
  if (found === undefined) return undefined
  return new TidemarkError(isErrorCode(found.code) ? found.code : 'SOURCE_UNSUITABLE', found.what, {
    next: found.fix,
  })
}

export interface LiveSource {
  readonly lag: Lag
  readonly known: Known | null
  /** Null without a slot, which would hold WAL. */
  readonly budget: Budget | null
  readonly slot: StatusReport['slot']
}

export async function askSource(url: string, generation: Generation, clock: Clock): Promise<LiveSource> {
  const { head, bytesPerSecond, now, held } = await openAdmin({ url, names: generation.facts.origin }).lag()
  const safe = held?.safeBytes
  return {
    lag: lagOf(head, generation, clock.now()),
    known: generation.base === undefined ? null : knownOf(generation, now),
    budget:
      // Of a slot that is lost nothing is kept any more.
      held === undefined || held.isLost
        ? null
        : {
            bytes: safe ?? null,
            walBytesPerSecond: bytesPerSecond,
            seconds:
              safe === undefined || bytesPerSecond === 0
                ? null
                : Math.max(0, Math.round(safe / bytesPerSecond)),
          },
    slot: held === undefined ? null : { name: held.name, active: held.active, walStatus: held.state },
  }
}

export function lagOf(head: Position, generation: Generation, nowMs: number): Lag {
  const bytes = Number(head - generation.end)
  return {
    bytes: Math.max(0, bytes),
    seconds: bytes <= 0 ? 0 : Math.max(0, (nowMs - Date.parse(generation.lastWrittenAt)) / 1000),
  }
}
