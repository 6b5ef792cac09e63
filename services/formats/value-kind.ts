/** How the values of each kind lie in their Avro union. The kind is the source's to decide (core/relation.ts). */
import type { ValueKind } from '../core/relation.ts'

/** Kinds whose Avro type cannot hold every value: they have a text branch beside it. */
export function hasTextBranch(kind: ValueKind): boolean {
  return kind === 'date' || kind === 'timestamp' || kind === 'timestamptz' || kind === 'float'
}

/**
 * The branches of a column's union, in order: null, the value, (text,) state. The state is an enum of `unchanged`
 * (a TOASTed value that the change did not touch) and `absent` (not published): two of the four value states.
 */
export const BRANCH_NULL = 0
export const BRANCH_VALUE = 1
export const BRANCH_TEXT = 2

export function stateBranch(kind: ValueKind): number {
  return hasTextBranch(kind) ? 3 : 2
}

export const STATE_UNCHANGED = 0
export const STATE_ABSENT = 1
