/** `init` and `uninstall`: what they change, in an order that leaves nothing half done. */
import type { SourceOrigin } from '../../core/ports/source.ts'
import type { Actor } from './actor.ts'
import { access, constants, mkdir, open, readdir } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { newKeys, openKeys, type RecipientKind, type RecipientPair } from '../../adapters/keys/key-folder.ts'
import { refuseUsedFolder } from '../../adapters/keys/unused-folder.ts'
import { type Clock, systemClock, systemRandomness } from '../../core/clock.ts'
import { asTidemarkError, TidemarkError } from '../../core/errors.ts'
import type { ObjectStore } from '../../core/ports/object-store.ts'
import type { IdentityChange, InstallationPlan } from '../../core/ports/source-admin.ts'
import type { Finding } from '../../core/finding.ts'
import { isProbe, ledgerName } from '../../formats/object-name.ts'
import { createLedger } from '../../repository/genesis.ts'
import { Replicas } from '../../repository/replicas.ts'
import { Repository } from '../../repository/repository.ts'
import { openStore } from '../wiring/open-backup.ts'
import { examineStore } from './examine-store.ts'
import { examineLog } from '../wiring/compose.ts'
import { openAdmin } from '../wiring/source-admin.ts'
import { chosenLog, configText, type KafkaChoice } from '../config/chosen-settings.ts'
import { type Consent, requireConsent } from './consent.ts'
import { beginGeneration } from './generation.ts'
import { refusalOf } from './refusal.ts'

export interface InitOptions {
  readonly actor: Actor
  /** The system's by default. */
  readonly clock?: Clock
  readonly sourceUrl: string
  readonly storeUrl: string
  readonly keys: string
  readonly anchors?: readonly string[] | undefined
  readonly configPath: string
  readonly name: string
  readonly recipients: RecipientKind
  /** Makes an RSA recipient's keys; fresh ones where it is not given. */
  readonly makePair?: (() => Promise<RecipientPair>) | undefined
  /** A role that `up` will use instead of the one in `sourceUrl`; gets what that takes. */
  readonly grantTo?: string | undefined
  /** The change log; direct where it is not given. */
  readonly kafka?: KafkaChoice | undefined
  /** Asked before replica identities are changed or rights are given; false stops with CONSENT_NEEDED. */
  readonly consent: Consent
}

export interface InitReport {
  readonly findings: readonly Finding[]
  readonly identities: readonly IdentityChange[]
  readonly generation: number
  readonly stream: string
  readonly mode: InstallationPlan['mode']
}

export async function init(options: InitOptions): Promise<InitReport> {
  const { clock = systemClock } = options
  const exists = await access(options.configPath).then(
    () => true,
    () => false,
  )
  if (exists) throw settingsThere(options.configPath)
  const store = await openStore(options.storeUrl)
  for (const place of options.anchors ?? []) await openStore(place)
  for await (const name of store.list(''))
    if (!isProbe(name)) throw new TidemarkError('STORE_NOT_EMPTY', `${store.place} already holds ${name}`)
  // By its URL alone: what has these names there is not ours yet.
  const findings = await openAdmin({ url: options.sourceUrl }).examine()
  const refused = findings.filter((finding) => finding.level === 'refuse')
  if (refused.length > 0) {
    const code =
      refused[0]!.code === 'WAL_LEVEL'
        ? 'SOURCE_WAL_LEVEL'
        : refused[0]!.code === 'REPLICATION'
          ? 'SOURCE_PRIVILEGE'
          : 'SOURCE_UNSUITABLE'
    throw new TidemarkError(code, refused.map((finding) => finding.what).join('; '), {
      next: refused[0]!.fix,
    })
  }
  // A generation makes its slot anew; a slot of this name that is there before us is somebody else's and is not touched.
  const source = { url: options.sourceUrl, names: { slot: options.name, publication: options.name } }
  const admin = openAdmin(source)
  if (await admin.hasStream()) {
    throw new TidemarkError(
      'SOURCE_UNSUITABLE',
      `a replication slot named ${options.name} exists already, and it is not this installation's`,
      {
        next: 'tidemark init with another --name; where it is what an init left that was cut off: tidemark uninstall --source URL --yes, then init again',
      },
    )
  }
  const ofLog = await examineChosenLog(options.kafka)
  const unsafe = refusalOf(ofLog) ?? refusalOf(await examineStore(store, 'primary', 'thorough'))
  if (unsafe !== undefined) throw unsafe
  const stream = systemRandomness.uuid()
  const plan = await admin.plan(stream, false)
  const { mode, identities } = plan
  await requireConsent({ identities, grantTo: options.grantTo }, options.consent)
  // Whether this account may, before anything is made in source and store.
  await mkdir(options.keys, { recursive: true, mode: 0o700 })
  await access(dirname(resolve(options.configPath)), constants.W_OK)
  await refuseUsedFolder(options.keys)
  const keys = await newKeys(options.keys, options.recipients, systemRandomness, options.makePair)
  await admin.install(stream, plan, false)
  try {
    if (options.grantTo !== undefined) await admin.grantTo(options.grantTo)
    const genesis = await createLedger(
      store,
      clock,
      {
        kind: 'genesis',
        stream,
        signers: [...keys.publicSigners],
        recipients: [...keys.recipients],
        format: 2,
      },
      keys.signers.writer,
    )
    await keys.write({ stream, genesis, signers: [...keys.publicSigners] })
    const opened = await openKeys(options.keys, 'writer')
    const repository = await Repository.open({
      stores: Replicas.alone(store),
      trust: opened.trust,
      provider: opened.provider,
      signer: opened.signer,
      clock,
      randomness: systemRandomness,
    })
    const generation = await beginGeneration({ repository, ...source, reason: 'init' })
    await repository.audit('init', `generation ${generation}`, options.actor.name)
    await writeConfig(options)
    return { findings: [...findings, ...ofLog], identities, generation, stream, mode }
  } catch (error) {
    // The source is left as it was.
    await admin.uninstall()
    throw await leftBehind(error, store, options)
  }
}

/** A cluster that cannot be asked yet, for want of a login that tidemark.yaml will name, is told and keeps nobody. */
async function examineChosenLog(kafka: KafkaChoice | undefined): Promise<readonly Finding[]> {
  if (kafka === undefined) return []
  const found = await examineLog({ kafka: chosenLog(kafka) })
  return found.map((finding) =>
    finding.code.startsWith('LOG_')
      ? {
          ...finding,
          level: 'warn' as const,
          fix: 'kafka: in tidemark.yaml (tls, sasl, registry), then: tidemark doctor',
        }
      : finding,
  )
}

/** What was begun of a backup that there is not is in the way of the next try, and of nothing else. */
async function leftBehind(error: unknown, store: ObjectStore, options: InitOptions): Promise<unknown> {
  const known = asTidemarkError(error)
  if (known.code === 'INTERNAL') return error
  // What cannot be looked at may have something, and is named too.
  const isBegun = await store.size(ledgerName(1, 1n)).then(
    (size) => size !== undefined,
    () => true,
  )
  const hasKeys = await readdir(options.keys).then(
    (names) => names.length > 0,
    () => true,
  )
  const left = [...(hasKeys ? [`the folder ${options.keys}`] : []), ...(isBegun ? [store.place] : [])]
  if (left.length === 0) return error
  return new TidemarkError(known.code, known.message, {
    cause: error,
    means: `There is no backup yet, and nothing of one was left in the source. What was begun of it is in ${left.join(' and ')}.`,
    next: `mend what is said above, empty ${left.join(' and ')}, then the same tidemark init again`,
  })
}

function settingsThere(path: string): TidemarkError {
  return new TidemarkError('CONFIG_INVALID', `${path} exists already`, {
    next: 'tidemark up; tidemark init --grant-to ROLE or --anchor URL adds these to the backup; or init with another --config',
  })
}

async function writeConfig(options: InitOptions): Promise<void> {
  const file = await open(options.configPath, 'wx', 0o600).catch((error: unknown) => {
    throw (error as { readonly code?: unknown }).code === 'EEXIST' ? settingsThere(options.configPath) : error
  })
  try {
    await file.writeFile(
      configText({
        sourceUrl: options.sourceUrl,
        slot: options.name,
        publication: options.name,
        storeUrl: options.storeUrl,
        keys: resolve(options.keys),
        anchors: options.anchors,
        kafka: options.kafka,
      }),
    )
    await file.sync()
  } finally {
    await file.close()
  }
}

/** Takes everything of ours out of the source. The store and the keys stay: they are the backup. */
export function removeFromSource(
  url: string,
  /** As the settings have them: for a source in which somebody dropped the schema that says so. */
  names?: SourceOrigin,
): Promise<{ readonly stream: string | undefined; readonly left: readonly string[] }> {
  return openAdmin({ url, names }).uninstall()
}
