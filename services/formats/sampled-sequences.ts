/** Samples of sequences as they are stored: in a cut's index, or in an object of their own where no cut follows. */
import { z } from 'zod'
import { TidemarkError } from '../core/errors.ts'
import type { Position } from '../core/position.ts'
import type { SampledSequences } from '../core/transaction.ts'

const name = { schema: z.string(), name: z.string(), oid: z.number().exactOptional() }
const sample = z.object({
  ...name,
  lastValue: z.string().regex(/^-?\d{1,20}$/),
  isCalled: z.boolean(),
  advance: z
    .string()
    .regex(/^\d{1,20}$/)
    .exactOptional(),
  setBack: z.literal(true).exactOptional(),
})
const sampled = z.object({
  samples: z.array(sample),
  extent: z.enum(['full', 'changes']).exactOptional(),
  gone: z.array(z.object(name)).exactOptional(),
})

export function sampledJson({ samples, extent, gone = [] }: SampledSequences): object {
  return {
    samples,
    ...(extent === undefined ? {} : { extent }),
    ...(gone.length === 0 ? {} : { gone }),
  }
}

/** @throws TidemarkError OBJECT_CORRUPT; older objects are the bare list */
export function parseSampled(json: unknown, at: Position): SampledSequences {
  const parsed = sampled.safeParse(Array.isArray(json) ? { samples: json } : json)
  if (!parsed.success) throw new TidemarkError('OBJECT_CORRUPT', 'samples of sequences that cannot be read')
  return { at, ...parsed.data }
}
