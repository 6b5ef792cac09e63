/** `init --upgrade`: brings what Tidemark has in a source to what this program needs, also where somebody took it away. */
import type { Repository } from '../../repository/repository.ts'
import { openBackup, placeOf } from '../wiring/open-backup.ts'
import type { Config } from '../config/config.ts'
import { openAdmin } from '../wiring/source-admin.ts'
import { askedSource, examineSource } from './examine-source.ts'
import { type Consent, requireConsent } from './consent.ts'

export interface UpgradeOptions {
  readonly url: string
  /** Of the backup that the source belongs to; without it nothing is made that is gone. */
  readonly config?: Config | undefined
  readonly grantTo?: string | undefined
  /** Asked where everything has to be made anew, with what that changes beyond the schema. */
  readonly consent?: Consent
}

export interface UpgradeReport {
  /** The version that was there; 0 where there was nothing. */
  readonly from: number
  /** Whether the publication was made anew: what was written without it is a gap of every table. */
  readonly published: boolean
  /** Whether the backup's slot is there: without it, only a new generation goes on. */
  readonly hasSlot: boolean
}

/** @throws TidemarkError SOURCE_UNSUITABLE, SOURCE_PRIVILEGE, INSTALLATION_NEWER, CONSENT_NEEDED */
export async function upgradeSource(options: UpgradeOptions): Promise<UpgradeReport> {
  const { config, url } = options
  const admin = openAdmin({ ...config?.source, url })
  if (config !== undefined && (await admin.installed()) === undefined) {
    const { repository } = await openBackup({ ...placeOf(config), role: 'writer' })
    await refuseOther(config, url, repository)
    const { stream } = repository.catalog
    const plan = await admin.plan(stream, true)
    const role = options.grantTo ?? otherRole(config.source.url, url)
    await requireConsent({ identities: plan.identities, grantTo: role }, options.consent)
    await admin.install(stream, plan, true)
    if (role !== undefined) await admin.grantTo(role)
    return { from: 0, published: true, hasSlot: await admin.hasStream() }
  }
  const { from, published } = await admin.upgrade()
  // Without the settings nobody knows which one it is.
  return { from, published, hasSlot: config === undefined || (await admin.hasStream()) }
}

/** Another database than the backup's is left alone. Who installs may not be let to ask for it, where who streams is. */
async function refuseOther(config: Config, url: string, repository: Repository): Promise<void> {
  for (const one of new Set([url, config.source.url])) {
    const asked = askedSource({ ...config, source: { ...config.source, url: one } })
    const trouble = await examineSource(asked, repository, false)
    if (trouble?.code === 'SOURCE_CHANGED') throw trouble
  }
}

/** The role of `up`, where another one installs. */
function otherRole(up: string, installing: string): string | undefined {
  const [role, installer] = [up, installing].map((url) => decodeURIComponent(new URL(url).username))
  return role === undefined || role === '' || role === installer ? undefined : role
}
