/** A target whose every failure is told as one: a server that goes away in the middle is no mistake of ours. */
import { TidemarkError } from '../../../core/errors.ts'
import type { Target } from '../../../core/ports/target.ts'
import { connectionError } from '../session/session.ts'
import { PostgresTarget, type TargetOptions } from './postgres-target.ts'

export function openPostgresTarget(options: TargetOptions): Target {
  return answering(new PostgresTarget(options))
}

/** @returns the same target; what its server or the line to it fails with is coded */
function answering(target: Target): Target {
  let isBegun = false
  const coded =
    <A extends unknown[], R>(method: (...args: A) => Promise<R>) =>
    async (...args: A): Promise<R> => {
      try {
        return await method.apply(target, args)
      } catch (error) {
        throw told(connectionError(error, 'target'), isBegun)
      }
    }
  const begin = coded(target.begin)
  return {
    check: coded(target.check),
    begin: async (restoreId) => {
      const loaded = await begin(restoreId)
      isBegun = true
      return loaded
    },
    run: coded(target.run),
    load: coded(target.load),
    remember: coded(target.remember),
    remembered: coded(target.remembered),
    missingTypes: coded(target.missingTypes),
    digest: coded(target.digest),
    remarks: () => target.remarks(),
    finish: coded(target.finish),
    close: () => target.close(),
  }
}

function told(error: TidemarkError, isBegun: boolean): TidemarkError {
  if (!isBegun || error.code !== 'TARGET_UNREACHABLE') return error
  return new TidemarkError(error.code, error.message, {
    cause: error,
    means: 'The restore is not complete: what was loaded stays in the target, and the backup is intact.',
    next: 'the same restore again, when the target is back: it goes on where it stopped',
  })
}
