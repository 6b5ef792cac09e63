/** What the figures share: the server, the installation in its database, and copies of the slot behind the changes. */
import { TESTER } from '../support/actor.ts'
import { join } from 'node:path'
import type pg from 'pg'
import { newKeys } from '../../services/adapters/keys/key-folder.ts'
import { identifySource } from '../../services/engines/postgres/admin/same-source.ts'
import { openSource } from '../../services/app/wiring/compose.ts'
import { openBackup, openStore } from '../../services/app/wiring/open-backup.ts'
import { init } from '../../services/app/operations/init.ts'
import { systemClock, systemRandomness } from '../../services/core/clock.ts'
import { BaseCopy } from '../../services/replicator/base-copy.ts'
import type { EmbeddedPostgres } from '../../services/demo/embedded-postgres.ts'
import { createLedger } from '../../services/repository/genesis.ts'
import type { Repository } from '../../services/repository/repository.ts'

export interface WorkplaceOptions {
  readonly folder: string
  readonly server: EmbeddedPostgres
  readonly client: pg.Client
  readonly admin: pg.Client
  readonly tools: string
  readonly pairs: number
  readonly say: (text: string) => void
}

const NAME = 'bench'

export class Workplace {
  readonly options: WorkplaceOptions
  walBytes = 0
  /** Where the changes end. */
  end = ''
  #consistentPoint = ''
  #copies = 0

  private constructor(options: WorkplaceOptions) {
    this.options = options
  }

  static async open(options: WorkplaceOptions): Promise<Workplace> {
    const workplace = new Workplace(options)
    await init({
      actor: TESTER,
      sourceUrl: workplace.url,
      storeUrl: workplace.storeUrl,
      keys: workplace.keys,
      configPath: join(options.folder, 'tidemark.yaml'),
      name: NAME,
      recipients: 'rsa',
      consent: () => Promise.resolve(true),
    })
    return workplace
  }

  get url(): string {
    return this.options.server.url('im')
  }
  get storeUrl(): string {
    return join(this.options.folder, 'store')
  }
  get keys(): string {
    return join(this.options.folder, 'keys')
  }
  get publication(): string {
    return NAME
  }

  /** The base of the installation itself, before the changes: what the rebuild starts from. */
  async takeBase(): Promise<void> {
    const { repository } = await openBackup({ storeUrl: this.storeUrl, keys: this.keys, role: 'writer' })
    const source = openSource(
      {
        path: '',
        source: { url: this.url, names: { slot: '', publication: '' } },
        storeUrl: '',
        keys: '',
        roll: { ageMs: 0, segmentBytes: 0 },
        http: { host: '', port: 0, compactorPort: 0 },
        logLevel: 'info',
      },
      repository.catalog.generation!,
    )
    await new BaseCopy({
      source,
      repository,
      generation: 1,
      clock: systemClock,
      randomness: systemRandomness,
      events: {},
    }).base(new AbortController().signal)
    await source.close()
  }

  async prepareStream(): Promise<void> {
    this.#consistentPoint = (
      await this.options.client.query<{ l: string }>(
        'SELECT confirmed_flush_lsn::text AS l FROM pg_replication_slots WHERE slot_name = $1',
        [NAME],
      )
    ).rows[0]!.l
  }

  /** A mark behind the last change: every drain runs up to it. */
  async endStream(): Promise<void> {
    const { client } = this.options
    await client.query("INSERT INTO tidemark.marker (name) VALUES ('end')")
    this.end = (await client.query<{ l: string }>('SELECT pg_current_wal_flush_lsn()::text AS l')).rows[0]!.l
    await client.query('CHECKPOINT')
  }

  /** A slot that stands before the changes; each drain uses one up. */
  async copySlot(): Promise<string> {
    const name = `copy_${++this.#copies}`
    await this.options.client.query('SELECT pg_copy_logical_replication_slot($1, $2)', [NAME, name])
    return name
  }

  async dropSlot(name: string): Promise<void> {
    await this.options.client.query('SELECT pg_drop_replication_slot($1)', [name])
  }

  /** An empty backup whose generation reads the given slot. */
  async freshBackup(
    slot: string,
  ): Promise<{ readonly storeUrl: string; readonly keys: string; readonly repository: Repository }> {
    const storeUrl = join(this.options.folder, `store-${slot}`)
    const keys = join(this.options.folder, `keys-${slot}`)
    const made = await newKeys(keys, 'rsa', systemRandomness)
    const stream = systemRandomness.uuid()
    const genesis = await createLedger(
      await openStore(storeUrl),
      systemClock,
      { kind: 'genesis', stream, signers: [...made.publicSigners], recipients: [...made.recipients] },
      made.signers.writer,
    )
    await made.write({ stream, genesis, signers: [...made.publicSigners] })
    const { repository } = await openBackup({ storeUrl, keys, role: 'writer' })
    const identity = await identifySource(this.url)
    await repository.append({
      kind: 'generation',
      generation: 1,
      engine: identity.engine,
      origin: { ...identity.origin, slot, publication: NAME },
      database: identity.database,
      encoding: identity.encoding,
      serverVersion: identity.serverVersion,
      timeline: identity.timeline,
      consistentPoint: this.#consistentPoint,
      firstTransaction: '1',
      reason: 'bench',
    })
    return { storeUrl, keys, repository }
  }
}
