/** `mark`: a row in our marker table, so that it has a place in the stream like any transaction. */
import { asTidemarkError, TidemarkError } from '../../core/errors.ts'
import { comparePositions, parsePosition } from '../../core/position.ts'
import type { Repository } from '../../repository/repository.ts'
import type { Actor } from './actor.ts'
import { audit, isNotTaken } from './audit.ts'
import { askedSource, requireSource } from './examine-source.ts'
import { openBackup, placeOf } from '../wiring/open-backup.ts'
import type { Config } from '../config/config.ts'
import { openAdmin } from '../wiring/source-admin.ts'
import { shellWord } from '../../core/shell-word.ts'

const WAIT_MS = 20_000
/** Where nobody reads the slot: long enough for an `up` that is just starting. */
const UNREAD_WAIT_MS = 5_000

export const BEFORE_BASE =
  'The first base is not durable yet: the window opens behind the marker, and no restore reaches it. Nothing stored is affected.'

export interface MarkReport {
  /** In the source it is in every case: `durable` where it is in the backup, else whether somebody reads the slot. */
  readonly state: 'durable' | 'read' | 'unread'
  readonly durable: boolean
  readonly position: string | null
  /** False before the first base is durable: the window opens behind the marker, and no restore reaches it. */
  readonly inWindow: boolean
  readonly audit: string
  /** What the store said last, where it did not answer. */
  readonly storeError: { readonly code: string; readonly message: string; readonly next: string } | null
}

/** @throws TidemarkError MARKER_EXISTS; as `requireSource` before anything is written: it would never get into the backup */
export async function setMarker(
  config: Config,
  actor: Actor,
  name: string,
  signal: AbortSignal,
): Promise<MarkReport> {
  if (!/^[A-Za-z0-9._-]{1,100}$/.test(name))
    throw new TidemarkError(
      'USAGE',
      'a marker has letters, digits, dots, dashes and underscores, at most 100',
    )
  const { repository } = await openBackup({ ...placeOf(config), role: 'writer' })
  refuseTaken(repository, name)
  const { clock } = repository
  const before = repository.ledger.headNumber
  const inWindow = repository.catalog.generation?.base !== undefined
  const isRead = await writeMarker(config, repository, name)
  const where = await audit(repository, actor, 'mark', name)
  const deadline = clock.elapsed() + (isRead ? WAIT_MS : UNREAD_WAIT_MS)
  let storeError: MarkReport['storeError'] = null
  for (;;) {
    const found = repository.catalog.generation?.markers.findLast(
      (marker) => marker.number > before && marker.body.name === name,
    )
    if (found !== undefined)
      return {
        state: 'durable',
        durable: true,
        position: found.body.at,
        inWindow,
        audit: where,
        storeError: null,
      }
    if (clock.elapsed() >= deadline) break
    await clock.sleep(200, signal)
    try {
      await repository.ledger.refresh()
      storeError = null
    } catch (error) {
      // The marker is set whatever the store does.
      const known = asTidemarkError(error)
      if (known.retry !== 'again') throw known
      storeError = { code: known.code, message: known.message, next: known.next }
    }
  }
  storeError ??= await notTaken(repository, actor, name)
  return {
    state: isRead ? 'read' : 'unread',
    durable: false,
    position: null,
    inWindow,
    audit: where,
    storeError,
  }
}

/** Whether the store takes anything: one that is full or read-only is read like any other. */
async function notTaken(
  repository: Repository,
  actor: Actor,
  name: string,
): Promise<MarkReport['storeError']> {
  if (!repository.canSign) return null
  try {
    await repository.ledger.append(
      { kind: 'audit', command: 'mark', operator: actor.name, what: `${name} is not durable yet` },
      repository.signer,
    )
    return null
  } catch (error) {
    if (!isNotTaken(error)) throw error
    const { code, message, next } = asTidemarkError(error)
    return { code, message, next }
  }
}

/** Of two points with one name a restore would take one without a question. A marker that no restore reaches takes no name. */
function refuseTaken(repository: Repository, name: string): void {
  for (const generation of repository.catalog.generations) {
    const opens = generation.bases[0]?.closing
    const taken = generation.markers.find(
      (marker) =>
        marker.body.name === name &&
        opens !== undefined &&
        comparePositions(parsePosition(marker.body.at), opens) >= 0,
    )
    if (taken !== undefined)
      throw new TidemarkError('MARKER_EXISTS', `there is a marker ${name} already, at ${taken.body.at}`)
  }
}

/** @returns whether a process reads the slot now */
async function writeMarker(config: Config, repository: Repository, name: string): Promise<boolean> {
  const { generation } = repository.catalog
  if (generation === undefined)
    throw new TidemarkError('NO_BASE', 'the ledger has no generation', { next: 'tidemark init' })
  await requireSource(askedSource(config), repository)
  return openAdmin({ url: config.source.url, names: generation.facts.origin }).mark(name)
}

/** What is true of a marker that is in the source, and not in the backup yet. */
export function notDurable(name: string, report: MarkReport): TidemarkError {
  const { state, inWindow, storeError } = report
  const store =
    storeError === null
      ? undefined
      : `the store takes nothing from here (${storeError.code}: ${storeError.message})`
  const why =
    state === 'unread'
      ? `no \`up\` reads the source now${store === undefined ? '' : `, and ${store}`}`
      : (store ?? 'what is written in the source is not durable that far yet')
  return new TidemarkError(
    'MARKER_NOT_DURABLE',
    `marker ${name} is in the source, and not in the backup: ${why}`,
    {
      next: !inWindow
        ? `tidemark up, and once it says that the base is durable, again: tidemark mark ${shellWord(name)}`
        : state === 'unread'
          ? 'tidemark up'
          : `${storeError === null ? '' : `${storeError.next}; then: `}tidemark windows  (names it once it is durable)`,
      ...(inWindow ? {} : { means: BEFORE_BASE }),
    },
  )
}
