/** `init --upgrade`: brings what Tidemark has in a source to what this program needs, also where somebody took it away. */
import {
  grantTo,
  installAgain,
  type Installation,
  type InstallationMode,
  planAgain,
  publishAgain,
  readMode,
} from '../../engines/postgres/admin/install.ts'
import { publicationState } from '../../engines/postgres/admin/examine-publication.ts'
import { APPLICATION_NAME } from '../../engines/postgres/session/names.ts'
import { connect } from '../../engines/postgres/session/session.ts'
import { readSlot } from '../../engines/postgres/admin/slot.ts'
import { installedVersion, upgradeInstallation } from '../../engines/postgres/admin/upgrade.ts'
import { systemClock } from '../../core/clock.ts'
import { TidemarkError } from '../../core/errors.ts'
import type { Repository } from '../../repository/repository.ts'
import { openBackup, placeOf } from '../wiring/open-backup.ts'
import type { Config } from '../config/config.ts'
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
  const client = await connect({ url: options.url, applicationName: APPLICATION_NAME, role: 'source' })
  try {
    if ((await installedVersion(client)) === undefined && options.config !== undefined) {
      const { slot, publication } = options.config.source
      const { repository } = await openBackup({ ...placeOf(options.config), role: 'writer' })
      await refuseOther(options.config, options.url, repository)
      const installation: Installation = { stream: repository.catalog.stream, publication, slot }
      const plan = await planAgain(client, installation)
      const role = options.grantTo ?? otherRole(options.config.source.url, options.url)
      await requireConsent({ identities: plan.identities, grantTo: role }, options.consent)
      await installAgain(client, installation, plan, systemClock)
      if (role !== undefined) await grantTo(client, role)
      return { from: 0, published: true, hasSlot: (await readSlot(client, slot)) !== undefined }
    }
    const from = await upgradeInstallation(client)
    const { publication, mode } = await installed(client)
    const slot = options.config?.source.slot
    // Without the settings nobody knows which one it is.
    const hasSlot = slot === undefined || (await readSlot(client, slot)) !== undefined
    if ((await publicationState(client, publication)).state === 'whole')
      return { from, published: false, hasSlot }
    await publishAgain(client, { publication, mode })
    return { from, published: true, hasSlot }
  } finally {
    await client.end()
  }
}

/** Another database than the backup's is left alone. Who installs may not be let to ask for it, where who streams is. */
async function refuseOther(config: Config, url: string, repository: Repository): Promise<void> {
  for (const one of new Set([url, config.source.url])) {
    const asked = askedSource({ ...config, source: { ...config.source, url: one } })
    const trouble = await examineSource(asked, repository, false)
    if (trouble?.code === 'SOURCE_CHANGED') throw trouble
  }
}

async function installed(
  client: Parameters<typeof readMode>[0],
): Promise<{ readonly publication: string; readonly mode: InstallationMode }> {
  const found = await readMode(client)
  if (found === undefined)
    throw new TidemarkError('SOURCE_UNSUITABLE', 'the installation in this database is not complete', {
      next: 'tidemark uninstall, and init again',
    })
  return found
}

/** The role of `up`, where another one installs. */
function otherRole(up: string, installing: string): string | undefined {
  const [role, installer] = [up, installing].map((url) => decodeURIComponent(new URL(url).username))
  return role === undefined || role === '' || role === installer ? undefined : role
}
