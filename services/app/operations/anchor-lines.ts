/** For people: what comparing the store with its anchors told. */
import type { OpenedBackup } from '../wiring/open-backup.ts'

export function anchorLines({
  anchored: reports,
  repository,
}: Pick<OpenedBackup, 'anchored' | 'repository'>): string[] {
  if (repository.ledger.broken !== undefined)
    return [
      'not compared with any anchor: the ledger is broken, and what lies behind the break is not trusted anyway',
    ]
  if (reports === undefined) return ['not compared with any anchor, as asked (--accept-loss)']
  if (reports.length === 0)
    return ['no anchor given: nobody can tell whether newer entries were cut off (--anchor URL)']
  return reports.map(({ place, outcome, head, why }) => {
    if (outcome === 'unreachable')
      return `${place} could not be asked whether newer entries were cut off: ${why ?? ''}`
    return head === null
      ? `nothing is anchored in ${place} yet`
      : `the store holds entry ${head.number}, as anchored in ${place} at ${head.writtenAt}`
  })
}
