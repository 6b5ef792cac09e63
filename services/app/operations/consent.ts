/** What is done to an application's tables and roles only when somebody said so in words. */
import { TidemarkError } from '../../core/errors.ts'
import type { IdentityChange } from '../../core/ports/source-admin.ts'
import { tableText } from '../../core/relation.ts'

export interface ConsentRequest {
  readonly identities: readonly IdentityChange[]
  /** A role that gets REPLICATION, BYPASSRLS and pg_read_all_data. */
  readonly grantTo: string | undefined
}

/** False stops with CONSENT_NEEDED. */
export type Consent = (wanted: ConsentRequest) => Promise<boolean>

/** @throws TidemarkError CONSENT_NEEDED */
export async function requireConsent(wanted: ConsentRequest, consent: Consent | undefined): Promise<void> {
  if (wanted.identities.length === 0 && wanted.grantTo === undefined) return
  if (consent === undefined || !(await consent(wanted)))
    throw new TidemarkError('CONSENT_NEEDED', consentNeeded(wanted))
}

function consentNeeded({ identities, grantTo: role }: ConsentRequest): string {
  const tables = identities.map((change) => `${tableText(change)} (${change.after})`)
  const more = tables.length > 10 ? ' …' : ''
  return [
    ...(tables.length === 0
      ? []
      : [
          `${tables.length} tables have no replica identity that serves: once published, their UPDATE and DELETE would fail. init would set: ${tables.slice(0, 10).join(', ')}${more}`,
        ]),
    ...(role === undefined
      ? []
      : [`the role ${role} would get REPLICATION, BYPASSRLS and pg_read_all_data: it reads every table`]),
  ].join('; ')
}
