/** status, windows. */
import { isErrorCode, streamTrouble } from '../../core/error-codes.ts'
import type { Command } from 'commander'
import { anchorLines } from '../../app/operations/anchor-lines.ts'
import { notProtected } from '../../app/operations/check-status.ts'
import type { AskedSource } from '../../app/operations/examine-source.ts'
import { type BackupPlace, openBackup } from '../../app/wiring/open-backup.ts'
import { copyLines } from '../../app/wiring/store-set.ts'
import { readStatus, type StatusReport } from '../../app/operations/status.ts'
import {
  type DamagedReport,
  type GapReport,
  readWindows,
  type WindowReport,
} from '../../app/operations/windows.ts'
import { TidemarkError } from '../../core/errors.ts'
import type { Context } from '../context.ts'
import type { Run } from '../run.ts'
import { bytesText, table } from '../../terminal/output.ts'
import { leavingOut } from '../../core/shell-word.ts'

/**
 * For what only reads the ledger: either side of the keys folder serves, and any of the stores.
 *
 * @param at another place than the command's
 */
export async function openAnySide(
  context: Context,
  how: { readonly upToBreak?: boolean; readonly compare?: boolean } = {},
  at?: BackupPlace,
): Promise<Awaited<ReturnType<typeof openBackup>> & { source: AskedSource | undefined }> {
  const { source, ...named } = context.place()
  const place = { ...(at ?? named), ...how }
  try {
    return { ...(await openBackup({ ...place, role: 'writer', use: 'read' })), source }
  } catch (error) {
    if (!(error instanceof TidemarkError) || error.code !== 'KEY_MISSING') throw error
    return { ...(await openBackup({ ...place, role: 'restore' })), source }
  }
}

function spanText(seconds: number): string {
  return seconds < 120
    ? `${seconds.toFixed(1)} s`
    : seconds < 7200
      ? `${(seconds / 60).toFixed(0)} min`
      : seconds < 172_800
        ? `${(seconds / 3600).toFixed(1)} h`
        : `${(seconds / 86_400).toFixed(1)} days`
}

function gapEndText({ to, generation, toGeneration }: GapReport): string {
  if (to === null) return 'open'
  return toGeneration === generation ? to : `${to}, the first base of generation ${toGeneration}`
}

function endText(position: string | null, time: string | null): string {
  return `${position ?? ''}${time === null ? '' : ` (${time})`}`
}

function windowText({ from, to, without }: WindowReport): string {
  const range = `${endText(from.position, from.time)} to ${endText(to.position, to.time)}`
  return `${range}${withoutText(without)}`
}

export function withoutText(without: readonly string[]): string {
  return without.length === 0 ? '' : ` ${leavingOut(without)}`
}

export function offeredText({
  restorable,
  without,
  damaged,
}: {
  readonly restorable: boolean
  readonly without: readonly string[]
  readonly damaged: boolean
}): string {
  if (!restorable) return '  (cannot be restored: outside of the windows)'
  return `${withoutText(without)}${damaged ? '  (needs what is DAMAGED in every store: tidemark windows)' : ''}`
}

function damagedText({ from, to, objects, what }: DamagedReport): string {
  const more = objects.length === 1 ? '' : ` and ${objects.length - 1} more`
  return `  DAMAGED ${from} to ${to}: these points need ${objects[0]!}${more}, which no store has (${what}): tidemark scrub --known looks again`
}

function slotText({ slot, sourceError }: StatusReport): string {
  if (slot !== null)
    return `${slot.name}, ${slot.active ? 'being read' : 'not being read'}, ${slot.walStatus}`
  const code = sourceError?.code ?? ''
  return isErrorCode(code) && streamTrouble(code) === 'absent' ? 'is not there' : 'unknown'
}

function statusRows(
  status: StatusReport,
  stores: readonly string[],
  copies: readonly string[],
  anchors: readonly string[],
): (readonly string[])[] {
  const rows = [
    [
      'window',
      status.window.from === null
        ? status.partly === null
          ? 'none yet: the base is not finished'
          : 'no point has all tables'
        : `${endText(status.window.from, status.window.fromTime)} to ${endText(status.window.to, status.window.toTime)}`,
    ],
    ...(status.partly === null ? [] : [['partly', windowText(status.partly)]]),
    [
      'behind',
      status.lag === null
        ? 'unknown: the source was not asked'
        : `${bytesText(status.lag.bytes)} of WAL, ${spanText(status.lag.seconds)}`,
    ],
    [
      'gaps',
      status.gaps.filter((gap) => gap.open).length === 0
        ? 'none open'
        : status.gaps
            .filter((gap) => gap.open)
            .map((gap) => `${gap.scope} from ${gap.from}`)
            .join(', '),
    ],
    [
      'WAL budget',
      status.budget === null
        ? status.lag !== null && status.slot === null
          ? 'none: without its slot the source keeps no WAL for Tidemark'
          : 'unknown'
        : status.budget.bytes === null
          ? "unlimited: WAL may fill the source's disk while Tidemark is away (tidemark doctor)"
          : `${bytesText(status.budget.bytes)}, ${status.budget.seconds === null ? 'nothing is being written' : `${spanText(status.budget.seconds)} at the current rate`}`,
    ],
    ['slot', slotText(status)],
    ['stored', bytesText(status.bytesStored)],
  ]
  if (status.damage.objects > 0) rows.push(['DAMAGED', status.damage.what])
  for (const line of stores) rows.push(['store', line])
  for (const line of copies) rows.push(['copy', line])
  for (const line of anchors) rows.push(['anchor', line])
  if (status.sourceError !== null)
    rows.push(['source', `${status.sourceError.code}: ${status.sourceError.message}  (tidemark doctor)`])
  return rows
}

export function registerStatus(program: Command, run: Run): void {
  program
    .command('status')
    .description('what is durable, how far behind the source it is, gaps, WAL budget')
    .option('--check', 'exit with 13 (NOT_PROTECTED) unless all is well: for scripts and alarms')
    .action(async (_, command: Command) =>
      run(command, async (context) => {
        const opened = await openAnySide(context, { compare: true })
        const { repository, source, compared } = opened
        const anchors = anchorLines(opened)
        const status = await readStatus(repository, source)
        const { output } = context
        output.line(table(statusRows(status, opened.troubles(), copyLines(compared), anchors)))
        if (command.optsWithGlobals<{ check?: boolean }>().check === true) {
          const why = [
            ...notProtected(status, context.configIfThere()?.roll.ageMs ?? 0),
            ...(repository.ledger.isCopy
              ? ['the primary store cannot be read: this is what a copy has']
              : []),
          ]
          output.event({ ...status, notProtected: why })
          if (why.length > 0) throw new TidemarkError('NOT_PROTECTED', why.join('; '))
        }
        output.result({
          ...status,
          copies: compared,
          anchors,
        })
      }),
    )
  program
    .command('windows')
    .description('what can be restored: windows, bases, markers, gaps')
    .action(async (_, command: Command) =>
      run(command, async (context) => {
        const { repository, troubles } = await openAnySide(context, { upToBreak: true })
        const report = readWindows(repository)
        const { output } = context
        const { broken } = repository.ledger
        for (const line of troubles()) output.line(`WARNING: ${line}`)
        if (report.windows.length === 0)
          output.line('Nothing can be restored yet: there is no finished base.')
        for (const w of report.windows) output.line(`generation ${w.generation}: ${windowText(w)}`)
        for (const d of report.damaged) output.line(damagedText(d))
        for (const b of report.bases)
          output.line(
            `  base    ${b.id}  closes at ${b.closing}, written ${b.writtenAt}, ${b.tables} tables, ${bytesText(b.bytes)}${offeredText(b)}`,
          )
        for (const m of report.markers)
          output.line(`  marker  ${m.point.slice('marker:'.length)}  ${m.position}${offeredText(m)}`)
        for (const g of report.gaps)
          output.line(`  gap     ${g.scope}  ${g.from} to ${gapEndText(g)}: ${g.reason}`)
        output.result({ ...report, broken: broken === undefined ? null : broken.message })
      }),
    )
}
