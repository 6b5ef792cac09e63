/** init, uninstall. */
import { createInterface } from 'node:readline/promises'
import type { Command } from 'commander'
import type { ConsentRequest } from '../../app/operations/consent.ts'
import { init, removeFromSource } from '../../app/operations/init.ts'
import { upgradeSource } from '../../app/operations/upgrade-source.ts'
import { openBackup, placeOf } from '../../app/wiring/open-backup.ts'
import { audit } from '../../app/operations/audit.ts'
import { asTidemarkError, TidemarkError } from '../../core/errors.ts'
import { KEPT } from '../../core/code-facts.ts'
import type { Config } from '../../app/config/config.ts'
import { addToBackup } from '../../app/operations/init-again.ts'
import { clearDatabase } from '../../app/wiring/clear-database.ts'
import type { KafkaChoice } from '../../app/config/chosen-settings.ts'
import type { Context } from '../context.ts'
import type { Run } from '../run.ts'

function kafkaChoice(options: {
  readonly name: string
  readonly kafka?: string
  readonly registry?: string
  readonly prefix?: string
  readonly partitions: string
  readonly replicationFactor: string
}): KafkaChoice | undefined {
  if (options.kafka === undefined && options.registry === undefined) return undefined
  if (options.kafka === undefined || options.registry === undefined)
    throw new TidemarkError('USAGE', '--kafka and --registry belong together')
  const partitions = Number(options.partitions)
  const replicationFactor = Number(options.replicationFactor)
  if (!Number.isInteger(partitions) || partitions < 1 || partitions > 256)
    throw new TidemarkError('USAGE', '--partitions is 1 to 256')
  if (!Number.isInteger(replicationFactor) || replicationFactor < 1 || replicationFactor > 7)
    throw new TidemarkError('USAGE', '--replication-factor is 1 to 7')
  return {
    brokers: options.kafka.split(','),
    registry: options.registry,
    prefix: options.prefix ?? options.name.replaceAll('_', '-').slice(0, 60),
    partitions,
    replicationFactor,
  }
}

/** What is asked before `init` changes tables or rights, in words. */
function consentText({ identities, grantTo }: ConsentRequest): string[] {
  const lines: string[] = []
  if (identities.length > 0) {
    lines.push(
      'These tables have no replica identity that serves. Published as they are, their UPDATE and DELETE would fail, so init would set:',
      ...identities.map(({ text }) => `  ${text}`),
    )
    if (identities.some((change) => change.after === 'FULL'))
      lines.push(
        'FULL means that every UPDATE and DELETE of the table writes the whole old row into the WAL.',
      )
  }
  lines.push(
    'Tables that are made later without a key, or lose theirs, or are set to NOTHING, get FULL in the same way. It is taken back once a key comes, and `tidemark uninstall` gives back what was before.',
  )
  if (grantTo !== undefined)
    lines.push(
      `The role ${grantTo} would get REPLICATION, BYPASSRLS and pg_read_all_data: it may read every table of every database here. \`tidemark uninstall\` takes back what the role did not have before.`,
    )
  return lines
}

async function askedConsent({ output, yes }: Context, changes: ConsentRequest): Promise<boolean> {
  if (yes) return true
  if (output.json || process.stdin.isTTY !== true) return false
  for (const line of consentText(changes)) output.line(line)
  const question = createInterface({ input: process.stdin, output: process.stdout })
  const answer = await question.question('Go on? (yes/no) ')
  question.close()
  return answer.trim().toLowerCase() === 'yes'
}

async function upgrade(
  context: Context,
  options: { readonly source?: string; readonly grantTo?: string },
): Promise<void> {
  const { output } = context
  const config = context.configIfThere()
  const url = options.source ?? config?.source.url
  if (url === undefined)
    throw new TidemarkError('USAGE', 'init --upgrade needs --source URL, or tidemark.yaml')
  const { from, published, hasSlot } = await upgradeSource({
    url,
    config,
    grantTo: options.grantTo,
    consent: (changes) => askedConsent(context, changes),
  })
  output.line(
    from === 0
      ? 'Nothing of Tidemark was in the source: made again.'
      : `Replaced version ${from} of what Tidemark puts into the source.`,
  )
  if (published)
    output.line(
      `The publication was made anew: what was written without it is a gap of every table. The next tidemark up ${hasSlot ? '' : '--new-generation '}records it, and begins a new generation with a new base.`,
    )
  output.line(hasSlot ? 'Next: tidemark up' : 'The slot is gone too. Next: tidemark up --new-generation')
  output.result({ upgradedFrom: from, published, hasSlot })
}

/** Beside a tidemark.yaml: what is asked for is added, the rest stays. */
async function add(
  context: Context,
  config: Config,
  options: {
    readonly source?: string
    readonly store?: string
    readonly grantTo?: string
    readonly anchor?: readonly string[]
  },
): Promise<void> {
  const { output } = context
  if (options.store !== undefined && options.store !== config.storeUrl)
    throw new TidemarkError('CONFIG_INVALID', `${config.path} exists already, and names another store`, {
      next: 'init with another --config',
    })
  const report = await addToBackup({
    actor: context.actor,
    config,
    sourceUrl: options.source,
    grantTo: options.grantTo,
    anchors: options.anchor ?? [],
    consent: (changes) => askedConsent(context, changes),
  })
  if (report.granted !== null)
    output.line(`${report.granted} has what up needs: name it in source.url of ${config.path}.`)
  for (const url of report.anchors) output.line(`The head of the ledger is anchored in ${url} too.`)
  if (report.granted === null && report.anchors.length === 0) output.line('Everything was there already.')
  else output.line('What runs takes it in at its next start: tidemark up')
  output.result(report)
}

/** There is no tidemark.yaml to correct, and nothing for `doctor` to examine, before this has come to its end. */
async function withoutSettings<T>(running: Promise<T>): Promise<T> {
  try {
    return await running
  } catch (thrown) {
    const error = asTidemarkError(thrown)
    if (error.code === 'INTERNAL') throw thrown
    const next = error.next
      .replace('correct tidemark.yaml', 'correct the URLs of the command')
      .replace(/tidemark doctor$/, 'the same tidemark init again')
    // What is said of a backup that stands is nothing to go by where there is none.
    const means = error.means.includes(KEPT)
      ? 'There is no backup yet, and nothing of one was left in the source.'
      : error.means
    if (next === error.next && means === error.means) throw error
    throw new TidemarkError(error.code, error.message, { cause: error, means, next })
  }
}

export function registerInit(program: Command, run: Run): void {
  program
    .command('init')
    .description('prepare a source and a store: keys, tidemark.yaml, publication, slot, event triggers')
    .option('--source <URL>', 'postgresql://user@host:port/database')
    .option(
      '--upgrade',
      'replace what an older Tidemark put into the source, and make again what is gone of it',
    )
    .option('--name <NAME>', 'name of slot and publication', 'tidemark')
    .option(
      '--grant-to <ROLE>',
      'a role that up will use; gets what that takes (put it into tidemark.yaml then)',
    )
    .option('--kafka <HOST:PORT,…>', 'Kafka as the change log, with --registry')
    .option('--registry <URL>', 'a Confluent-compatible schema registry')
    .option('--prefix <PREFIX>', 'of the topics; that of no other backup on the cluster (default: the name)')
    .option('--partitions <N>', 'of each topic', '4')
    .option('--replication-factor <N>', 'of each topic', '3')
    .option('--recipients <KIND>', 'rsa (the writer cannot read) or aes', 'rsa')
    .action(async (_, command: Command) =>
      run(command, async (context) => {
        const options = command.optsWithGlobals<{
          source?: string
          upgrade?: true
          store?: string
          keys?: string
          anchor?: string[]
          name: string
          recipients: string
          grantTo?: string
          kafka?: string
          registry?: string
          prefix?: string
          partitions: string
          replicationFactor: string
        }>()
        if (options.upgrade === true) {
          await upgrade(context, options)
          return
        }
        const { source } = options
        const config =
          options.grantTo === undefined && options.anchor === undefined ? undefined : context.configIfThere()
        if (config !== undefined) {
          await add(context, config, options)
          return
        }
        if (source === undefined) throw new TidemarkError('USAGE', 'init needs --source URL')
        if (options.store === undefined) throw new TidemarkError('USAGE', 'init needs --store URL')
        if (options.recipients !== 'rsa' && options.recipients !== 'aes')
          throw new TidemarkError('USAGE', '--recipients is rsa or aes')
        if (!/^[a-z0-9_]{1,63}$/.test(options.name))
          throw new TidemarkError('USAGE', '--name has lower-case letters, digits and _ only')
        const { output } = context
        output.warn(clearDatabase(source, 'source', context.sslMode))
        const keys = options.keys ?? 'keys'
        const report = await withoutSettings(
          init({
            actor: context.actor,
            sourceUrl: source,
            storeUrl: options.store,
            keys,
            anchors: options.anchor,
            configPath: context.configPath,
            name: options.name,
            recipients: options.recipients,
            grantTo: options.grantTo,
            kafka: kafkaChoice(options),
            consent: (changes) => askedConsent(context, changes),
          }),
        )
        for (const finding of report.findings)
          output.line(
            `${finding.level}: ${finding.what}${finding.fix === '' ? '' : `\n      fix: ${finding.fix}`}`,
          )
        if (report.mode === 'polling')
          output.line(
            'warn: the role may not make event triggers: every schema change will be found by asking, and be a gap of its table until the table has been read again\n      fix: tidemark uninstall, and init with a superuser URL',
          )
        output.line(`Prepared. Stream ${report.stream}, generation ${report.generation}.`)
        output.line(`  settings      ${context.configPath}`)
        output.line(`  writer keys   ${keys}/writer   (public keys and a signing key: stay here)`)
        output.line(`  restore keys  ${keys}/restore  (open the backup: move them away, keep them safe)`)
        output.line('Next: tidemark up')
        output.result({
          stream: report.stream,
          generation: report.generation,
          identities: report.identities,
          findings: report.findings,
          mode: report.mode,
        })
      }),
    )
  program
    .command('uninstall')
    .description('take everything of Tidemark out of the source; the store and the keys stay')
    .option('--source <URL>', 'instead of the one in tidemark.yaml')
    .action(async (_, command: Command) =>
      run(command, async (context) => {
        const { source } = command.optsWithGlobals<{ source?: string }>()
        const config = source === undefined ? context.config() : undefined
        if (!context.yes && process.stdin.isTTY !== true)
          throw new TidemarkError(
            'CONSENT_NEEDED',
            'uninstall drops the slot: what is written from here on is not in the backup, and a tidemark up that runs ends',
            { next: 'tidemark uninstall --yes' },
          )
        const { stream: removed, left } = await removeFromSource(
          source ?? config!.source.url,
          config?.source.names,
        )
        let audited = 'nowhere: the store could not be opened'
        if (config !== undefined) {
          try {
            const { repository } = await openBackup({ ...placeOf(config), role: 'writer' })
            audited = await audit(repository, context.actor, 'uninstall', removed ?? 'nothing was installed')
          } catch (error) {
            audited = `nowhere: ${asTidemarkError(error).message}`
          }
        }
        context.output.line(
          removed === undefined
            ? `The schema tidemark was not in the source${config === undefined ? '' : ': its slot and its publication are removed where they were left'}.`
            : 'Removed slot, publication, event triggers and schema tidemark from the source. The store and the keys are untouched.',
        )
        if (left.length > 0)
          context.output.line(
            `Left to an administrator: tables that were locked or whose identity nobody noted, and rights of a role where another database's backup may live by them:\n${left.map((statement) => `  ${statement};`).join('\n')}`,
          )
        context.output.result({ removed: removed !== undefined, left, audit: audited })
      }),
    )
}
