/** Verification: the chain, every object's bytes, whether the keys open them; and the source itself at one exact LSN. */
import { asTidemarkError, TidemarkError } from '../../core/errors.ts'
import { SideBySide } from '../../core/side-by-side.ts'
import { comparePositions, positionBefore, positionText } from '../../core/position.ts'
import { digestBackup } from '../../rebuild/attest.ts'
import { planRestore } from '../../rebuild/plan.ts'
import { resolvePoint } from '../../history/point.ts'
import { proveLedger } from '../../repository/checkpoint.ts'
import { isBelow } from '../../repository/floor.ts'
import { proveObject } from '../../repository/keyring.ts'
import { namedObjects } from '../../repository/named-objects.ts'
import type { Repository } from '../../repository/repository.ts'
import { dialectOf } from '../wiring/dialect.ts'
import { openAdmin } from '../wiring/source-admin.ts'

interface Damage {
  readonly entry: string
  readonly object: string
  readonly code: string
  readonly what: string
  /** What it covers, for people. */
  readonly range: string
  /** The last position that it is for. */
  readonly until: string | null
}

export interface VerifyReport {
  readonly entries: string
  readonly head: string
  readonly objects: number
  readonly bytes: string
  readonly decrypted: boolean
  readonly damaged: readonly Damage[]
  /** What no store had before, and is right by now. */
  readonly intact: readonly string[]
}

/** Objects that are read at once, and their bytes. */
const READ_TOGETHER = 8
const READ_BYTES = 64 * 1024 * 1024

/** @param decrypt also opens every object; without it the hashes alone are checked, which needs no key */
export async function verifyStore(
  repository: Repository,
  decrypt: boolean,
  onProgress: (done: number, bytes: number) => void,
  signal: AbortSignal,
): Promise<VerifyReport> {
  const damaged: Damage[] = []
  const intact: string[] = []
  const { damage } = repository.catalog
  let objects = 0
  let bytes = 0n
  const reading = new SideBySide(READ_TOGETHER, READ_BYTES)
  for await (const { entry, faults } of proveLedger(repository.ledger, repository.catalog.floor)) {
    for (const { object, error } of faults)
      damaged.push({
        entry: String(entry.number),
        object,
        code: error.code,
        what: error.message,
        range: "the ledger's own index: every command reads around it",
        until: null,
      })
    // What a checkpoint names has been compared with the entries already.
    for (const { object, range, until, sealed } of entry.body?.kind === 'checkpoint'
      ? []
      : namedObjects(entry)) {
      signal.throwIfAborted()
      if (isBelow(repository.catalog.floor, object.name)) continue
      // Some are read while another one is hashed.
      await reading.begin(Number(object.bytes), async () => {
        try {
          if (decrypt && sealed !== undefined)
            await repository.getSealed({ ...object, key: sealed.key }, sealed.context)
          else await proveObject(repository.ledger, object)
          if (damage.get(object.name)?.elsewhere === false) intact.push(object.name)
        } catch (error) {
          const known = asTidemarkError(error)
          if (known.code !== 'OBJECT_CORRUPT' && known.code !== 'OBJECT_MISSING') throw error
          damaged.push({
            entry: String(entry.number),
            object: object.name,
            code: known.code,
            what: known.message,
            range,
            until,
          })
        }
        objects++
        bytes += BigInt(object.bytes)
        onProgress(objects, Number(bytes))
      })
    }
  }
  await reading.all()
  damaged.sort((a, b) => Number(BigInt(a.entry) - BigInt(b.entry)) || (a.object < b.object ? -1 : 1))
  return {
    entries: String(repository.ledger.headNumber),
    head: repository.ledger.headHash,
    objects,
    bytes: String(bytes),
    decrypted: decrypt,
    damaged,
    intact,
  }
}

export interface AttestationReport {
  readonly position: string
  readonly equal: boolean
  readonly tables: readonly {
    readonly table: string
    readonly sourceRows: string
    readonly backupRows: string
    readonly equal: boolean
  }[]
}

/** How long the stream may take to reach the snapshot's position. */
const CATCH_UP_MS = 120_000

/**
 * Digests the source under an exact snapshot, waits until the backup covers that position, digests the backup at it and
 * writes both outcomes into the ledger.
 *
 * @param onSnapshot waited for right behind each snapshot, for tests
 */
export async function verifyAgainstSource(
  repository: Repository,
  url: string,
  signal: AbortSignal,
  onSnapshot?: () => Promise<void>,
): Promise<AttestationReport> {
  const generation = repository.catalog.generation
  if (generation === undefined) throw new TidemarkError('NO_BASE', 'the backup has no generation')
  const names = generation.facts.origin
  const { at, tables: source } = await openAdmin({ url, names }).attest(signal, onSnapshot)
  const deadline = repository.clock.elapsed() + CATCH_UP_MS
  while (comparePositions(generation.end, at) < 0) {
    if (repository.clock.elapsed() > deadline) {
      throw new TidemarkError(
        'NOT_PROVEN',
        `the backup reaches ${positionText(generation.end)}, the source was read at ${positionText(at)}`,
        { next: 'see that `tidemark up` runs, then: tidemark verify --against-source' },
      )
    }
    await repository.clock.sleep(200, signal)
    await repository.ledger.refresh()
  }
  const point = await resolvePoint(repository, {
    kind: 'position',
    position: positionBefore(at),
    generation: generation.facts.generation,
  })
  const backup = await digestBackup(
    repository,
    await planRestore(repository, dialectOf(point.generation.facts.engine), point),
    repository.randomness,
    signal,
  )
  const seen = new Set<string>()
  const tables = backup.map((table) => {
    const name = `${table.schema}.${table.name}`
    seen.add(name)
    const there = source.get(name)
    return {
      table: name,
      sourceRows: there?.rows ?? '0',
      backupRows: String(table.rows),
      equal: there !== undefined && there.digest === table.digest && there.rows === String(table.rows),
    }
  })
  for (const [name, there] of source)
    if (!seen.has(name)) tables.push({ table: name, sourceRows: there.rows, backupRows: '0', equal: false })
  const equal = tables.every((table) => table.equal)
  await repository.append({
    kind: 'attestation',
    generation: generation.facts.generation,
    at: positionText(at),
    equal,
    tables: [...source.values()].map((t) => ({
      oid: t.oid,
      schema: t.schema,
      name: t.name,
      rows: t.rows,
      digest: t.digest,
    })),
  })
  return { position: positionText(at), equal, tables }
}
