/** What the file system answered, as what it means for a store. */
import { asTidemarkError, TidemarkError } from '../../core/errors.ts'
import { isMistake } from '../../core/mistake.ts'

export function errno(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error ? String(error.code) : undefined
}

export function isRefusal(error: unknown): boolean {
  const code = errno(error)
  return code === 'EACCES' || code === 'EPERM'
}

export function storeError(error: unknown, name: string): TidemarkError {
  if (error instanceof TidemarkError) return error
  if (isMistake(error)) return asTidemarkError(error)
  const code = errno(error)
  switch (code) {
    case 'ENOENT':
      return new TidemarkError('STORE_NOT_FOUND', `no object ${name}`, { cause: error })
    case 'ENOSPC':
    case 'EDQUOT':
      return new TidemarkError('STORE_FULL', `no room left while writing ${name}`, { cause: error })
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return new TidemarkError('STORE_READ_ONLY', `not permitted: ${name}`, { cause: error })
    default:
      return new TidemarkError(
        'STORE_UNREACHABLE',
        `the folder answered ${code ?? 'an unknown error'} for ${name}`,
        { cause: error },
      )
  }
}

export function notThere(root: string): string {
  return `the folder ${root} is not there any more: is its disk mounted?`
}
