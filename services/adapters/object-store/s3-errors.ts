/** What S3 services answer, as coded errors (Amazon S3 API reference, "Error responses"; MinIO's own beside them). */
import { asTidemarkError, TidemarkError } from '../../core/errors.ts'
import { isMistake } from '../../core/mistake.ts'

/** Answers to a listing of versions where there is no such thing, or no right to it. */
export const NO_VERSIONS = new Set(['NotImplemented', 'AccessDenied', 'MethodNotAllowed'])
const NO_LOCK_HERE = new Set([
  'ObjectLockConfigurationNotFoundError',
  'NoSuchObjectLockConfiguration',
  'InvalidBucketObjectLockConfiguration',
])

/** An answer to a question after a setting of the bucket where it is not set, or there is no such setting. */
export function isUnset(error: unknown): boolean {
  const code = codeOf(error)
  return (
    NO_LOCK_HERE.has(code) ||
    isWithoutLock(code, error) ||
    ['NotImplemented', 'MethodNotAllowed'].includes(code)
  )
}

/** Answers to a put of what may be there already: to a race that was lost, or to an object that is locked. */
export function isLost(code: string): boolean {
  return ['ConditionalRequestConflict', 'OperationAborted', 'AccessDenied'].includes(code)
}

const REFUSALS = new Set([
  'AccessDenied',
  'InvalidAccessKeyId',
  'SignatureDoesNotMatch',
  'ExpiredToken',
  'InvalidToken',
  'InvalidTokenId',
  'TokenRefreshRequired',
  'RequestTimeTooSkewed',
  'Forbidden',
  'UnauthorizedAccess',
])

export function s3Error(
  error: unknown,
  name: string,
  store: { readonly place: string; readonly bucket: string; readonly region: string },
): TidemarkError {
  if (error instanceof TidemarkError) return error
  if (isMistake(error)) return asTidemarkError(error)
  const code = codeOf(error)
  const options = { cause: error }
  if (['NoSuchKey', 'NotFound'].includes(code))
    return new TidemarkError('STORE_NOT_FOUND', `no object ${name}`, options)
  if (code === 'NoSuchBucket')
    return new TidemarkError('STORE_REFUSED', `there is no bucket ${store.bucket}`, {
      ...options,
      next: 'make the bucket, or correct the URL of the store',
    })
  if (['XMinioStorageFull', 'QuotaExceeded', 'EntityTooLarge'].includes(code))
    return new TidemarkError('STORE_FULL', `${store.place} answers ${code} for ${name}`, options)
  if (
    ['AuthorizationHeaderMalformed', 'PermanentRedirect', 'IllegalLocationConstraintException'].includes(code)
  )
    return new TidemarkError('STORE_REFUSED', `the bucket is not in region ${store.region}`, {
      ...options,
      next: 'set region= in the URL of the store',
    })
  if (NO_LOCK_HERE.has(code) || isWithoutLock(code, error))
    return new TidemarkError(
      'STORE_NO_LOCK',
      `the bucket ${store.bucket} has no object lock, and ${name} is to be locked`,
      options,
    )
  if (['NotImplemented', 'MethodNotAllowed'].includes(code))
    return new TidemarkError(
      'STORE_REFUSED',
      `${store.place} answers ${code} for ${name}: it cannot do what was asked of it`,
      options,
    )
  if (REFUSALS.has(code))
    return new TidemarkError('STORE_REFUSED', `${store.place} answers ${code} for ${name}`, options)
  if (/CERT|SELF_SIGNED|UNABLE_TO_(GET|VERIFY)/.test(code))
    return new TidemarkError('STORE_REFUSED', `the certificate of ${store.place} is not trusted (${code})`, {
      ...options,
      next: 'set ca=FILE in the URL of the store to the authority that signed it',
    })
  // The service's own trouble, a cut connection, a silent socket: it may pass.
  return new TidemarkError(
    'STORE_UNREACHABLE',
    `${store.place} answers ${code === '' ? 'nothing that is understood' : code} for ${name}`,
    options,
  )
}

/** One code for many faults of a request: only the text tells. */
function isWithoutLock(code: string, error: unknown): boolean {
  return (
    code === 'InvalidRequest' &&
    error instanceof Error &&
    /missing object ?lock ?configuration/i.test(error.message)
  )
}

export function codeOf(error: unknown): string {
  if (error instanceof Error && 'code' in error && typeof error.code === 'string') return error.code
  return error instanceof Error && error.name !== 'Error' ? error.name : ''
}
