/** A ledger in memory whose next put may lose its answer, and to which anything can be appended past every check. */
import { generateKeyPairSync, randomUUID } from 'node:crypto'
import { MemoryKeys } from '../../services/adapters/keys/memory-keys.ts'
import { MemoryStore } from '../../services/adapters/object-store/memory-store.ts'
import { systemClock, systemRandomness } from '../../services/core/clock.ts'
import { TidemarkError } from '../../services/core/errors.ts'
import { type Position, positionOf, positionText } from '../../services/core/position.ts'
import {
  encodeEntry,
  type EntryBody,
  type EntryOf,
  type SealedRef,
} from '../../services/formats/ledger-entry.ts'
import type { Signer } from '../../services/formats/signed-line.ts'
import type { Trusting } from '../../services/repository/checkpoint.ts'
import type { Generation } from '../../services/repository/generation.ts'
import type { TrustedSigners } from '../../services/repository/genesis.ts'
import { createLedger } from '../../services/repository/genesis.ts'
import { Replicas } from '../../services/repository/replicas.ts'
import { Repository } from '../../services/repository/repository.ts'

export class LedgerBench {
  readonly store = new MemoryStore()
  readonly trust: TrustedSigners
  readonly writer: Signer
  readonly keeper: Signer

  private constructor(trust: TrustedSigners, writer: Signer, keeper: Signer) {
    this.trust = trust
    this.writer = writer
    this.keeper = keeper
  }

  static async create(): Promise<LedgerBench> {
    const pairs = { writer: generateKeyPairSync('ed25519'), keeper: generateKeyPairSync('ed25519') }
    const signers = (['writer', 'keeper'] as const).map((role) => ({
      id: role,
      role,
      publicKey: pairs[role].publicKey.export({ type: 'spki', format: 'pem' }).toString(),
    }))
    const signerOf = (role: 'writer' | 'keeper'): Signer => ({ id: role, privateKey: pairs[role].privateKey })
    const trust = { stream: randomUUID(), genesis: '', signers }
    const bench = new LedgerBench(trust, signerOf('writer'), signerOf('keeper'))
    const { stream } = trust
    const genesis = { kind: 'genesis' as const, stream, signers, recipients: [], format: 2 as const }
    Object.assign(trust, { genesis: await createLedger(bench.store, systemClock, genesis, bench.writer) })
    await (await bench.open()).append(GENERATION)
    return bench
  }

  open(
    signer = this.writer,
    trusting: Trusting = 'signers',
    store: MemoryStore = this.store,
  ): Promise<Repository> {
    return Repository.open({
      stores: Replicas.alone(store),
      trusting,
      trust: this.trust,
      provider: new MemoryKeys(systemRandomness),
      signer,
      clock: systemClock,
      randomness: systemRandomness,
    })
  }

  /** The next put is done, and its answer is not heard. */
  loseNext(): void {
    const put = this.store.putIfAbsent.bind(this.store)
    this.store.putIfAbsent = async (name, chunks) => {
      this.store.putIfAbsent = put
      await put(name, chunks)
      throw new TidemarkError('STORE_UNREACHABLE', 'the answer was lost')
    }
  }

  /** Puts an entry behind the newest one, past every check of a writer. */
  async force(body: EntryBody, signer = this.writer): Promise<void> {
    const { ledger } = await this.open()
    const number = ledger.headNumber + 1n
    const file = encodeEntry(number, ledger.headHash, new Date().toISOString(), body, signer)
    await this.store.putIfAbsent(ledger.lineages.nameOf(number), [file])
  }
}

/** Continues a generation by a cut without objects. */
export function segmentsAfter({ to }: Generation): EntryOf<'segments'> {
  const index = { name: `segments/${to}`, bytes: '1', sha256: '0'.repeat(64), key: 'k' }
  return segmentsOf(1, to, positionOf(to + 16n), index)
}

export const GENERATION: EntryOf<'generation'> = {
  kind: 'generation',
  generation: 1,
  engine: 'memory',
  origin: {},
  database: 'memory',
  encoding: 'UTF8',
  serverVersion: 180000,
  timeline: 1,
  consistentPoint: '0/100',
  firstTransaction: '1',
  reason: 'test',
}

export function segmentsOf(
  term: number,
  from: Position,
  to: Position,
  index: SealedRef,
): EntryOf<'segments'> {
  const at = '2026-01-01T00:00:00.000Z'
  return {
    kind: 'segments',
    generation: 1,
    lane: 0,
    term,
    timeline: 1,
    from: positionText(from),
    to: positionText(to),
    end: positionText(to),
    transactions: '1',
    changes: '1',
    rawBytes: '1',
    firstCommittedAt: at,
    lastCommittedAt: at,
    latestCommittedAt: at,
    hasDdl: false,
    checked: null,
    log: null,
    objects: [],
    index,
  }
}

export function heartbeatOf(term: number, end: Position): EntryOf<'heartbeat'> {
  return { kind: 'heartbeat', generation: 1, lane: 0, term, timeline: 1, end: positionText(end) }
}

export function gapOf(id: string, from: Position): EntryOf<'gap'> {
  const scope = { kind: 'table' as const, oid: 1, schema: 'public', name: 'a' }
  return { kind: 'gap', generation: 1, id, from: positionText(from), to: null, reason: 'test', scope }
}

/** Without tables. */
export function baseOf(base: string, at: string): EntryOf<'base'> {
  const nothing = { tables: [], dropped: [], rows: '0', bytes: '0' }
  return { kind: 'base', generation: 1, base, from: at, closing: at, ...nothing }
}

export function retireOf(id: string, base: string, at: string, removeAfter: string): EntryOf<'retire'> {
  const nothing = { ddl: null, gone: [], roots: '0', pages: '0' }
  const floor = { generation: 1, base, before: at, schemasFrom: at, ...nothing }
  return { kind: 'retire', id, floor, objects: '0', bytes: '0', removeAfter }
}
