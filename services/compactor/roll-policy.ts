/** When to cut: pure, so that it can be tested on paper. */

export interface RollPolicy {
  /** Encoded bytes of one segment. */
  readonly segmentBytes: number
  /** A commit is durable within this time. */
  readonly ageMs: number
}

/** How long before the age a cut begins, so that sealing and storing fit into it. */
export function sealAllowanceMs(policy: RollPolicy): number {
  return Math.min(500, policy.ageMs / 5)
}

/** How long a cut whose age is over waits for the reading of a schema that changed in it. */
export function readingPatienceMs(policy: RollPolicy): number {
  return Math.max(2000, policy.ageMs / 4)
}

export interface OpenCutFacts {
  readonly rawBytes: number
  readonly transactions: number
  /** Since the first transaction of the cut arrived. */
  readonly ageMs: number
}

export type RollDecision = 'cut' | 'wait'

export function decideRoll(policy: RollPolicy, cut: OpenCutFacts): RollDecision {
  if (cut.transactions === 0) return 'wait'
  if (cut.rawBytes >= policy.segmentBytes) return 'cut'
  return cut.ageMs >= policy.ageMs - sealAllowanceMs(policy) ? 'cut' : 'wait'
}
