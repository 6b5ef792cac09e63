/** A recipient's key that never leaves its service: the file that says where it lies. */
import { resolve } from 'node:path'
import { z } from 'zod'
import { TidemarkError } from '../../core/errors.ts'
import type { RecipientKey } from './recipient-keys.ts'

const serviceFile = z.union([
  z.strictObject({
    kms: z.strictObject({
      key: z.string().regex(/^arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:(key|alias)\/.+$/),
      endpoint: z.url({ protocol: /^https?$/ }).optional(),
    }),
  }),
  z.strictObject({
    vault: z.strictObject({
      address: z.url({ protocol: /^https?$/ }),
      mount: z
        .string()
        .regex(/^[A-Za-z0-9_/-]+$/)
        .default('transit'),
      key: z.string().min(1),
      tokenFile: z.string().min(1).optional(),
    }),
  }),
])
export type ServiceKey = z.input<typeof serviceFile>

/** A key that lies in a service: the file says where, and is no secret. @throws TidemarkError KEY_FILE_INVALID */
export function parseServiceKey(text: unknown, path: string): z.output<typeof serviceFile> {
  const parsed = serviceFile.safeParse(text)
  if (!parsed.success)
    throw new TidemarkError(
      'KEY_FILE_INVALID',
      `${path} does not say where a key lies: ${z.prettifyError(parsed.error)}`,
    )
  return parsed.data
}

/** @param side that paths in it are relative to */
export function serviceRecipientOf(
  found: z.output<typeof serviceFile>,
  name: string,
  side: string,
  mayOpen: boolean,
): RecipientKey {
  if ('kms' in found) return { kind: 'kms', name, arn: found.kms.key, endpoint: found.kms.endpoint, mayOpen }
  const { address, mount, key, tokenFile } = found.vault
  return {
    kind: 'vault',
    name,
    address,
    mount,
    key,
    tokenFile: tokenFile === undefined ? undefined : resolve(side, tokenFile),
    mayOpen,
  }
}
