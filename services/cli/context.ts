/** What every command gets: its options resolved once, its output, the signal that ends it. */
import type { BackupPlace } from '../app/wiring/open-backup.ts'
import { type Config, CONFIG_NAME, readConfig, retentionFinding } from '../app/config/config.ts'
import { isSameStore } from '../app/config/same-store.ts'
import type { Actor } from '../app/operations/actor.ts'
import { askedSource, type AskedSource } from '../app/operations/examine-source.ts'
import { TidemarkError } from '../core/errors.ts'
import { clearDatabase } from '../app/wiring/clear-database.ts'
import { shellWord } from '../core/shell-word.ts'
import { Output } from '../terminal/output.ts'
import { actorHere } from './actor.ts'

export interface SharedOptions {
  readonly config?: string
  readonly json?: boolean
  readonly yes?: boolean
  readonly store?: string
  readonly copy?: readonly string[]
  readonly keys?: string
  readonly anchor?: readonly string[]
  readonly acceptLoss?: boolean
}

export class Context {
  readonly output: Output
  readonly actor: Actor
  readonly signal: AbortSignal
  readonly yes: boolean
  readonly acceptLoss: boolean
  readonly #options: SharedOptions
  /** What libpq's environment says of TLS where a URL does not. */
  readonly sslMode: string | undefined

  constructor(options: SharedOptions, signal: AbortSignal) {
    this.#options = options
    this.output = new Output(options.json === true)
    this.yes = options.yes === true
    this.acceptLoss = options.acceptLoss === true
    this.signal = signal
    this.actor = actorHere(process.env)
    this.sslMode = process.env['PGSSLMODE']
  }

  get configPath(): string {
    return this.#options.config ?? CONFIG_NAME
  }

  config(): Config {
    const config = readConfig(this.configPath)
    this.output.warn(clearDatabase(config.source.url, 'source', this.sslMode))
    this.output.warn(retentionFinding(config))
    return config
  }

  /** The settings, with the store and the keys that the flags name in their place. */
  configHere(): Config {
    const { store, copy, keys, anchor } = this.#options
    const config = this.config()
    const { storeUrl, copies } = store === undefined && copy === undefined ? config : this.place()
    const { storeRole, copies: _, anchors, ...rest } = config
    return {
      ...rest,
      ...(store === undefined && storeRole !== undefined ? { storeRole } : {}),
      storeUrl,
      ...(copies === undefined ? {} : { copies }),
      keys: keys ?? config.keys,
      ...(anchor !== undefined
        ? { anchors: anchor }
        : anchors !== undefined && isStoreOf(config, store)
          ? { anchors }
          : {}),
    }
  }

  /** For commands that can do without. */
  configIfThere(): Config | undefined {
    try {
      return this.config()
    } catch (error) {
      if (error instanceof TidemarkError && error.code === 'CONFIG_MISSING') return undefined
      throw error
    }
  }

  /** What says where the backup is, for a command that is to be run next: as it was given to this one. */
  get placeFlags(): string {
    const { config, store, copy = [], keys, anchor = [] } = this.#options
    const given: readonly (readonly [string, readonly string[]])[] = [
      ['--config', config === undefined ? [] : [config]],
      ['--store', store === undefined ? [] : [store]],
      ['--copy', copy],
      ['--keys', keys === undefined ? [] : [keys]],
      ['--anchor', anchor],
    ]
    return given
      .filter(([, values]) => values.length > 0)
      .map(([flag, values]) => ` ${flag} ${values.map(shellWord).join(' ')}`)
      .join('')
  }

  /** Store and keys are named, and settings are not needed: where there are some for this very store, they say where its head is anchored. */
  #anchorsOf(store: string): readonly string[] | undefined {
    try {
      const config = readConfig(this.configPath)
      return isStoreOf(config, store) ? config.anchors : undefined
    } catch (error) {
      if (error instanceof TidemarkError && error.code !== 'INTERNAL') return undefined
      throw error
    }
  }

  /** A database that is restored into. */
  warnOfTarget(url: string | undefined): void {
    if (url !== undefined) this.output.warn(clearDatabase(url, 'target', this.sslMode))
  }

  /** Store and keys from the flags, else from tidemark.yaml: a restore needs no configuration. */
  place(): BackupPlace & { readonly source: AskedSource | undefined } {
    const { store, copy, keys, anchor, acceptLoss } = this.#options
    const others = copy?.map((url) => ({
      url,
      role: 'remote' as const,
      mode: 'mirrored' as const,
      bandwidth: undefined,
    }))
    if (store !== undefined && keys !== undefined)
      return {
        storeUrl: store,
        copies: others,
        keys,
        anchors: anchor ?? this.#anchorsOf(store),
        acceptLoss,
        signal: this.signal,
        source: undefined,
      }
    let config: Config
    try {
      config = this.config()
    } catch (error) {
      if (error instanceof TidemarkError && error.code === 'CONFIG_MISSING')
        throw new TidemarkError(
          'USAGE',
          `no ${this.configPath} here: --store URL and --keys DIR are both needed`,
          { cause: error, next: 'the same with --store URL --keys DIR' },
        )
      throw error
    }
    return {
      storeUrl: store ?? config.storeUrl,
      storeRole: store === undefined ? config.storeRole : undefined,
      copies: others ?? (store === undefined ? config.copies : undefined),
      keys: keys ?? config.keys,
      anchors: anchor ?? (isStoreOf(config, store) ? config.anchors : undefined),
      acceptLoss,
      signal: this.signal,
      source: askedSource(config),
    }
  }
}

/** Whether what the settings say of their store is said of this one. */
function isStoreOf(config: Config, store: string | undefined): boolean {
  return store === undefined || isSameStore(store, config.storeUrl)
}
