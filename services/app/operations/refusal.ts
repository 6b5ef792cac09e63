/** What ends `doctor` where it found something that keeps the backup from running: the fault's own code and meaning. */
import { isErrorCode } from '../../core/error-codes.ts'
import { TidemarkError } from '../../core/errors.ts'
import type { Finding } from '../../core/finding.ts'

/** @returns undefined where nothing is refused */
export function refusalOf(findings: readonly Finding[]): TidemarkError | undefined {
  const refused = findings.filter((finding) => finding.level === 'refuse')
  const [first] = refused
  if (first === undefined) return undefined
  const what = refused.length === 1 ? first.what : `${first.what}; and ${refused.length - 1} more findings`
  return new TidemarkError(
    isErrorCode(first.code) ? first.code : 'SOURCE_UNSUITABLE',
    what,
    // A finding without a code of its own may be about the store or the keys as well.
    { next: first.fix, ...(isErrorCode(first.code) ? {} : { means: 'Nothing was changed.' }) },
  )
}
