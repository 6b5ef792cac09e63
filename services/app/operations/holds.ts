/**
 * Holds: what has to stay, whatever its age. A legal hold is set and taken back by people, and on stores with object locks stands on
 * every object too; a restore's own ends with it, or with its time.
 */
import { asTidemarkError, TidemarkError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import {
  comparePositions,
  parsePosition,
  type Position,
  positionBefore,
  positionText,
} from '../../core/position.ts'
import type { EntryOf } from '../../formats/ledger-entry.ts'
import { resolvePoint } from '../../history/point.ts'
import { parsePoint } from '../../history/point-text.ts'
import { closes } from '../../repository/restorable.ts'
import { namedObjects } from '../../repository/named-objects.ts'
import type { Repository } from '../../repository/repository.ts'
import type { Actor } from './actor.ts'
import { audit } from './audit.ts'
import { type BackupPlace, openBackup } from '../wiring/open-backup.ts'

export interface HoldReport {
  readonly id: string
  readonly purpose: 'legal' | 'restore'
  readonly reason: string
  readonly generation: number
  readonly from: string
  readonly to: string | null
  readonly until: string | null
  readonly setAt: string
}

export async function listHolds(place: BackupPlace): Promise<readonly HoldReport[]> {
  const { repository } = await openBackup({ ...place, role: 'writer', use: 'read' })
  return reports(repository)
}

function reports({ catalog }: Repository): HoldReport[] {
  return [...catalog.holds.values()].map(
    ({ writtenAt, body: { id, purpose, reason, generation, from, to, until } }) => ({
      id,
      purpose,
      reason,
      generation,
      from,
      to,
      until,
      setAt: writtenAt,
    }),
  )
}

export interface HoldRequest {
  readonly actor: Actor
  readonly place: BackupPlace
  readonly reason: string
  /** Points; from the beginning, and without an end, where they are not given. */
  readonly from: string | undefined
  readonly to: string | undefined
  /** RFC 3339. */
  readonly until: string | undefined
  readonly signal: AbortSignal
}

export interface HoldChange {
  readonly hold: HoldReport
  /** Objects whose legal hold was set or taken back, by store; none in stores without locks. */
  readonly objects: readonly { readonly place: string; readonly objects: number }[]
  readonly audit: string
}

/** The ledger first: from then on nothing that it holds is retired. */
export async function addHold({
  place,
  actor,
  reason,
  from,
  to,
  until,
  signal,
}: HoldRequest): Promise<HoldChange> {
  const { repository } = await openBackup({ ...place, role: 'restore', use: 'write' })
  const [first] = repository.catalog.generations.filter((generation) => generation.bases.length > 0)
  if (first === undefined)
    throw new TidemarkError('NO_BASE', 'the backup has no finished base: there is nothing to hold')
  const begin =
    from === undefined
      ? { generation: first, position: positionBefore(first.bases[0]!.closing) }
      : await resolvePoint(repository, parsePoint(from))
  const end = to === undefined ? undefined : await resolvePoint(repository, parsePoint(to))
  if (
    end !== undefined &&
    (end.generation !== begin.generation || comparePositions(end.position, begin.position) < 0)
  )
    throw new TidemarkError('USAGE', '--to lies before --from, or in another generation')
  const id = repository.randomness.uuid()
  await repository.ledger.append(
    {
      kind: 'hold',
      id,
      purpose: 'legal',
      reason,
      generation: begin.generation.facts.generation,
      from: positionText(begin.position),
      to: end === undefined ? null : positionText(end.position),
      until: until ?? null,
    },
    repository.signer,
  )
  const body = repository.catalog.holds.get(id)!.body
  const objects = await onObjects(repository, [body], true, signal, () => true)
  return {
    hold: reports(repository).find((hold) => hold.id === id)!,
    objects,
    audit: await audit(repository, actor, 'hold add', `${id}: ${reason}`),
  }
}

/** The objects first: what another hold needs stays held throughout. */
export async function releaseHold(
  place: BackupPlace,
  actor: Actor,
  id: string,
  signal: AbortSignal,
): Promise<HoldChange> {
  const { repository } = await openBackup({ ...place, role: 'restore', use: 'write', trusting: 'keepers' })
  const hold = reports(repository).find((one) => one.id === id)
  if (hold === undefined)
    throw new TidemarkError('USAGE', `there is no hold ${id.slice(0, 40)}`, { next: 'tidemark hold list' })
  const others = [...repository.catalog.holds.values()]
    .map(({ body }) => body)
    .filter((body) => body.purpose === 'legal' && body.id !== id)
  const needed = new Set<string>()
  for (const other of others) for await (const name of namesOf(repository, other)) needed.add(name)
  const body = repository.catalog.holds.get(id)!.body
  const objects =
    body.purpose === 'legal'
      ? await onObjects(repository, [body], false, signal, (name) => !needed.has(name))
      : []
  await repository.ledger.append({ kind: 'hold-released', id }, repository.signer)
  return { hold, objects, audit: await audit(repository, actor, 'hold release', id) }
}

async function onObjects(
  repository: Repository,
  holds: readonly EntryOf<'hold'>[],
  on: boolean,
  signal: AbortSignal,
  which: (name: string) => boolean,
): Promise<{ place: string; objects: number }[]> {
  const done: { place: string; objects: number }[] = []
  for (const store of repository.stores.all) {
    const { lock } = store
    if (lock === undefined) continue
    let objects = 0
    for (const hold of holds)
      for await (const group of inGroups(namesOf(repository, hold))) {
        signal.throwIfAborted()
        const names = group.filter(which)
        await Promise.all(names.map((name) => lock.hold(name, on)))
        objects += names.length
      }
    done.push({ place: store.place, objects })
  }
  return done
}

async function* inGroups(names: AsyncIterable<string>): AsyncGenerator<string[]> {
  let group: string[] = []
  for await (const name of names) {
    group.push(name)
    if (group.length < LIMITS.purgesInFlight) continue
    yield group
    group = []
  }
  yield group
}

/** Every object that restores to points of the hold read, and the ledger that proves them. */
async function* namesOf({ catalog, ledger }: Repository, hold: EntryOf<'hold'>): AsyncGenerator<string> {
  const from = parsePosition(hold.from)
  const to = hold.to === null ? undefined : parsePosition(hold.to)
  const generation = catalog.generations.find((one) => one.facts.generation === hold.generation)
  const base = generation?.bases.findLast((one) => closes(one.closing, from)) ?? generation?.bases[0]
  if (generation === undefined || base === undefined) return
  const isIn = (at: Position, end: Position): boolean =>
    comparePositions(end, base.from) >= 0 && (to === undefined || comparePositions(at, to) <= 0)
  for await (const entry of ledger.walk()) {
    yield ledger.lineages.nameOf(entry.number)
    const { body } = entry
    if (body === undefined || ('generation' in body && body.generation !== hold.generation)) continue
    const holds =
      body.kind === 'segments'
        ? isIn(parsePosition(body.from), parsePosition(body.to))
        : body.kind === 'sequences'
          ? isIn(parsePosition(body.at), parsePosition(body.at))
          : body.kind === 'table'
            ? isIn(parsePosition(body.position), parsePosition(body.position))
            : ['key', 'schema', 'schema-change', 'retire'].includes(body.kind)
    if (holds) for (const { object } of namedObjects(entry)) yield object.name
  }
}

/** As we make them: what stands in a target is not taken on trust. */
const HOLD_ID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/

/**
 * Holds what a restore needs while it runs. The target notes its id: a try that was killed leaves it, the next one takes it over, and releases
 * it at its end. Where the ledger cannot be written, as from a copy or with read rights alone, there is no
 * hold: the grace of `prune` is then what a restore has.
 */
export class RestoreHold {
  readonly #repository: Repository
  readonly #hold: Omit<EntryOf<'hold'>, 'until'>
  #isHeld = false
  #timer: NodeJS.Timeout | undefined
  /** One after the other; what fails is our own mistake, and is thrown by `release`. */
  #renewing: Promise<void> = Promise.resolve()

  private constructor(repository: Repository, hold: Omit<EntryOf<'hold'>, 'until'>) {
    this.#repository = repository
    this.#hold = hold
  }

  /** @param id of an earlier try of the same restore; taken where it is that and nothing else */
  static async take(
    repository: Repository,
    generation: number,
    position: Position,
    id: string,
  ): Promise<RestoreHold> {
    const at = positionText(position)
    const left = repository.catalog.holds.get(id)?.body
    const isOurs =
      HOLD_ID.test(id) &&
      (left === undefined ||
        (left.purpose === 'restore' && left.generation === generation && left.from === at && left.to === at))
    const hold = new RestoreHold(repository, {
      kind: 'hold',
      id: isOurs ? id : repository.randomness.uuid(),
      purpose: 'restore',
      reason: `a restore to ${at}`,
      generation,
      from: at,
      to: at,
    })
    await hold.#renew()
    if (hold.#isHeld) {
      hold.#timer = setInterval(() => {
        hold.#renewing = hold.#renewing.then(() => hold.#renew())
        hold.#renewing.catch(() => undefined)
      }, LIMITS.restoreHoldMs / 2)
      hold.#timer.unref()
    }
    return hold
  }

  get isHeld(): boolean {
    return this.#isHeld
  }

  async #renew(): Promise<void> {
    const until = new Date(this.#repository.clock.now() + LIMITS.restoreHoldMs).toISOString()
    // Of two with one id the later one counts.
    if (await this.#append({ ...this.#hold, until })) this.#isHeld = true
  }

  async release(): Promise<void> {
    clearInterval(this.#timer)
    await this.#renewing
    if (this.#isHeld) await this.#append({ kind: 'hold-released', id: this.#hold.id })
    this.#isHeld = false
  }

  /** False where the ledger cannot be written: nobody is kept from restoring by that. */
  async #append(body: EntryOf<'hold'> | EntryOf<'hold-released'>): Promise<boolean> {
    const { ledger, canSign, unasked } = this.#repository
    if (!canSign || unasked.length > 0) return false
    try {
      await ledger.append(body, this.#repository.signer)
      return true
    } catch (error) {
      if (asTidemarkError(error).code === 'INTERNAL') throw error
      return false
    }
  }
}
