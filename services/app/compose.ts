/** The wiring: settings to adapters to jobs. With `app/up.ts` the only place that knows adapters by name. */
import { isAbsolute, resolve } from 'node:path'
import { userInfo } from 'node:os'
import { fileURLToPath } from 'node:url'
import { FolderStore } from '../adapters/object-store/folder-store.ts'
import { type KeyRole, openKeys, type OpenedKeys } from '../adapters/keys/key-folder.ts'
import { PostgresSource } from '../adapters/postgres/postgres-source.ts'
import { PostgresTarget } from '../adapters/postgres/postgres-target.ts'
import { systemClock, systemRandomness } from '../core/clock.ts'
import { TidemarkError } from '../core/errors.ts'
import type { ObjectStore } from '../core/ports/object-store.ts'
import type { Generation } from '../repository/catalog.ts'
import { Repository } from '../repository/repository.ts'
import type { Config } from './config.ts'

/** `file:///absolute`, `file:relative` or a plain path. */
export function openStore(url: string): ObjectStore & { sweep?(clock: typeof systemClock): Promise<number> } {
  if (/^[a-z][a-z0-9+.-]*:/i.test(url) && !url.startsWith('file:')) {
    throw new TidemarkError('CONFIG_INVALID', `stores of the kind ${url.slice(0, url.indexOf(':'))} are not known to this version; folders are: file:///path`)
  }
  const path = url.startsWith('file://') ? fileURLToPath(url) : url.replace(/^file:/, '')
  return new FolderStore(isAbsolute(path) ? path : resolve(path), systemRandomness)
}

export interface OpenedBackup {
  readonly repository: Repository
  readonly keys: OpenedKeys
}

export async function openBackup(options: { readonly storeUrl: string; readonly keys: string; readonly role: KeyRole }): Promise<OpenedBackup> {
  const keys = await openKeys(options.keys, options.role)
  const repository = await Repository.open({
    store: openStore(options.storeUrl),
    trust: keys.trust,
    provider: keys.provider,
    signer: keys.signer,
    clock: systemClock,
    randomness: systemRandomness,
  })
  return { repository, keys }
}

export function openSource(config: Config, generation: Generation): PostgresSource {
  const { facts } = generation
  const timeline = generation.segments.at(-1)?.body.timeline ?? facts.timeline
  return new PostgresSource(
    { url: config.source.url, slot: facts.slot, publication: facts.publication, clock: systemClock, randomness: systemRandomness },
    { systemId: facts.systemId, databaseOid: facts.databaseOid, timeline },
  )
}

export function openTarget(url: string, generation: Generation): PostgresTarget {
  const { systemId, databaseOid, encoding, serverVersion } = generation.facts
  return new PostgresTarget({ url, source: { systemId, databaseOid, encoding, serverVersion } })
}

/** Who does it, for the audit log. */
export function operator(): string {
  return process.env['TIDEMARK_OPERATOR'] ?? process.env['SUDO_USER'] ?? userInfo().username
}
