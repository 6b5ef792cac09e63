/** What the leading compactor orders, and what is answered: signed, so that nobody else's are taken for them. */
import { z } from 'zod'
import { isErrorCode } from '../core/error-codes.ts'
import { asTidemarkError, TidemarkError } from '../core/errors.ts'
import { count, position } from '../formats/entry-fields.ts'
import { sealedObject, segmentObject } from '../formats/ledger-entry.ts'
import { openSignedLine, signLine } from '../formats/signed-line.ts'
import type { Repository } from '../repository/repository.ts'

const common = {
  stream: z.uuid(),
  /** Of the leader's claim, and the order's number under it. */
  term: z.int(),
  number: z.int(),
}

// Strict: of an order or an answer with a field that a newer version gave it, the rest alone could mean something else.
const cutOrder = z.strictObject({
  kind: z.literal('order'),
  ...common,
  generation: z.int(),
  /** Whose member is to build it. */
  lane: z.int(),
  /** Units of the change log: where to begin for all that is needed, the cut's first and its last. */
  from: count,
  first: count,
  last: count,
  /** Writers of the log with a lower term do not count. */
  since: z.int(),
  /** Positions: exclusive, inclusive. */
  after: position,
  to: position,
  segmentBytes: z.int(),
})

const cutAnswer = z.strictObject({
  kind: z.literal('answer'),
  ...common,
  made: z
    .strictObject({
      objects: z.array(segmentObject),
      index: sealedObject,
      bytes: z.int(),
      transactions: z.int(),
      changes: z.int(),
    })
    .nullable(),
  error: z.object({ code: z.string(), message: z.string() }).nullable(),
})

export type CutOrder = z.infer<typeof cutOrder>
export type CutAnswer = z.infer<typeof cutAnswer>

export function sealOrder(repository: Repository, order: Omit<CutOrder, 'kind' | 'stream'>): Buffer {
  return signLine(
    { kind: 'order', stream: repository.catalog.stream, ...order } satisfies CutOrder,
    repository.signer,
  )
}

export function sealAnswer(repository: Repository, answer: Omit<CutAnswer, 'kind' | 'stream'>): Buffer {
  return signLine(
    { kind: 'answer', stream: repository.catalog.stream, ...answer } satisfies CutAnswer,
    repository.signer,
  )
}

/** Undefined for what is not an order of a writer of this backup: garbage, somebody else's, or of a key that was retired. */
export function openOrder(repository: Repository, body: Buffer): CutOrder | undefined {
  return opened(cutOrder, repository, body)
}

export function openAnswer(repository: Repository, body: Buffer): CutAnswer | undefined {
  return opened(cutAnswer, repository, body)
}

function opened<T extends { readonly stream: string }>(
  schema: z.ZodType<T>,
  repository: Repository,
  body: Buffer,
): T | undefined {
  try {
    const { ledger } = repository
    const { json, signer } = openSignedLine(
      body,
      ledger.signers,
      (what, cause) => new TidemarkError('LOG_FOREIGN', what, { cause }),
    )
    // The ledger will name what is answered: whoever may not write there must not choose it.
    if (ledger.signers.isRetired(signer, ledger.headNumber + 1n)) return undefined
    const parsed = schema.safeParse(json)
    return parsed.success && parsed.data.stream === repository.catalog.stream ? parsed.data : undefined
  } catch (error) {
    if (error instanceof TidemarkError && error.code === 'LOG_FOREIGN') return undefined
    throw error
  }
}

/** The error that an answer carries, as it was where it happened. */
export function answeredError({
  code,
  message,
}: {
  readonly code: string
  readonly message: string
}): TidemarkError {
  return new TidemarkError(isErrorCode(code) ? code : 'INTERNAL', message)
}

export function errorAnswer(error: unknown): { readonly code: string; readonly message: string } {
  const known = asTidemarkError(error)
  return { code: known.code, message: known.message }
}
