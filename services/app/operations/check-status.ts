/** Whether a status is one to wake somebody for: what `status --check` ends by. */
import { overdue } from './protection.ts'
import type { StatusReport } from './status.ts'

/** @returns why it is not protected, for people; none where it is */
export function notProtected(status: StatusReport, rollMs: number): string[] {
  const { window, partly, sourceError, lag, known, slot, gaps, damage } = status
  const late = known === null ? undefined : overdue(known, rollMs)
  const open = gaps.filter((gap) => gap.open).length
  return [
    ...(window.from === null && partly === null ? ['there is no finished base'] : []),
    ...(sourceError === null ? [] : [`${sourceError.code}: ${sourceError.message}`]),
    ...(sourceError === null && lag === null ? ['nothing is known of the source'] : []),
    ...(slot !== null && !slot.active ? [`nobody reads the slot ${slot.name}`] : []),
    ...(late === undefined ? [] : [late]),
    ...(open === 0 ? [] : [`${open} gaps are open`]),
    ...(damage.ofNewest === 0 ? [] : [damage.what]),
  ]
}
