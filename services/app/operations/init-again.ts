/** `init` where a backup has begun: adds a role's rights or an anchor, and changes nothing else. */
import { open, readFile, rename } from 'node:fs/promises'
import { parseDocument } from 'yaml'
import { TidemarkError } from '../../core/errors.ts'
import type { Actor } from './actor.ts'
import { audit } from './audit.ts'
import type { Config } from '../config/config.ts'
import { openAdmin } from '../wiring/source-admin.ts'
import { type Consent, requireConsent } from './consent.ts'
import { openBackup, placeOf } from '../wiring/open-backup.ts'

export interface AdditionOptions {
  readonly actor: Actor
  readonly config: Config
  /** An administrator's, where the role of the settings may not grant. */
  readonly sourceUrl: string | undefined
  readonly grantTo: string | undefined
  readonly anchors: readonly string[]
  readonly consent: Consent
}

export interface Additions {
  readonly granted: string | null
  /** Those that the settings did not have. */
  readonly anchors: readonly string[]
  readonly audit: string
}

/** @throws TidemarkError CONSENT_NEEDED, INSTALLATION_MISSING, SOURCE_CHANGED; what an anchor says that cannot be written */
export async function addToBackup(options: AdditionOptions): Promise<Additions> {
  const { config, actor, grantTo: role } = options
  const added = options.anchors.filter((url) => config.anchors?.includes(url) !== true)
  const opened = await openBackup({
    ...placeOf(config),
    anchors: [...(config.anchors ?? []), ...added],
    role: 'writer',
  })
  const { repository, anchors } = opened
  // An anchor that cannot be written would be found by `up` at night.
  const [failure] = added.length === 0 ? [] : await anchors.write(repository.signer)
  if (failure !== undefined)
    throw new TidemarkError(
      'STORE_REFUSED',
      `the anchor in ${failure.place} cannot be written (${failure.code}): ${failure.message}`,
      {
        means: 'Nothing was changed.',
        next: 'make the place writable, then the same command again',
      },
    )
  if (role !== undefined)
    await grant(options.sourceUrl ?? config.source.url, role, repository.catalog.stream, options.consent)
  if (added.length > 0) await addAnchors(config, added)
  return {
    granted: role ?? null,
    anchors: added,
    audit: await audit(
      repository,
      actor,
      'init',
      [...(role === undefined ? [] : [`grant to ${role}`]), ...added].join(', '),
    ),
  }
}

async function grant(url: string, role: string, stream: string, consent: Consent): Promise<void> {
  const admin = openAdmin({ url })
  const installed = (await admin.installed())?.stream
  if (installed === undefined)
    throw new TidemarkError('INSTALLATION_MISSING', 'nothing of Tidemark is in the source', {
      next: 'tidemark init --upgrade',
    })
  if (installed !== stream)
    throw new TidemarkError(
      'SOURCE_CHANGED',
      'what is in the source belongs to another backup than the settings',
    )
  await requireConsent({ identities: [], grantTo: role }, consent)
  await admin.grantTo(role)
}

/** Comments and order stay as they are; the file is whole at every moment. */
async function addAnchors({ path }: Config, added: readonly string[]): Promise<void> {
  const document = parseDocument(await readFile(path, 'utf8'))
  for (const url of added) {
    if (document.has('anchors')) document.addIn(['anchors'], url)
    else document.set('anchors', document.createNode([url]))
  }
  const temporary = `${path}.new`
  const file = await open(temporary, 'w', 0o600)
  try {
    await file.writeFile(document.toString({ lineWidth: 0 }))
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(temporary, path)
}
