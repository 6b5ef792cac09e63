/**
 * Credentials of stores: never in a URL. From a file that may change while we run (renewed tokens), from the environment, or
 * from the machine (instance metadata, a pod's web identity).
 */
import { readFile } from 'node:fs/promises'
import { TidemarkError } from '../../core/errors.ts'

export interface AccessKeys {
  readonly accessKey: string
  readonly secretKey: string
  readonly sessionToken: string | undefined
}

/** Credentials in a file are read again after this: whoever renews them replaces the file before the old ones end. */
export const CREDENTIALS_MS = 10_000

/** `name = value` lines of one `[profile]`, as AWS writes them (docs.aws.amazon.com, "Configuration and credential file settings"). */
export function readProfile(text: string, profile: string): ReadonlyMap<string, string> {
  const values = new Map<string, string>()
  let at = 'default'
  for (const line of text.split(/\r?\n/)) {
    const section = /^\s*\[\s*(?:profile\s+)?([^\]]+?)\s*\]\s*$/.exec(line)
    if (section !== null) at = section[1]!
    const pair = /^\s*([A-Za-z0-9_]+)\s*=\s*(.*?)\s*$/.exec(line)
    if (pair !== null && at === profile) values.set(pair[1]!.toLowerCase(), pair[2]!)
  }
  return values
}

/** @throws TidemarkError STORE_REFUSED */
export async function keysOfFile(path: string, profile: string): Promise<AccessKeys> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (error) {
    throw new TidemarkError('STORE_REFUSED', `the credentials file ${path} cannot be read`, { cause: error })
  }
  const values = readProfile(text, profile)
  const accessKey = values.get('aws_access_key_id')
  const secretKey = values.get('aws_secret_access_key')
  if (accessKey === undefined || secretKey === undefined)
    throw new TidemarkError(
      'STORE_REFUSED',
      `${path} has no aws_access_key_id and aws_secret_access_key in [${profile}]`,
    )
  return { accessKey, secretKey, sessionToken: values.get('aws_session_token') }
}
