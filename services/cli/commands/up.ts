/** up. */
import type { Command } from 'commander'
import { healthServer, listen } from '../../api/health.ts'
import { audit } from '../../app/operations/audit.ts'
import type { Config } from '../../app/config/config.ts'
import { acceptedLoss } from '../../app/operations/accepted-loss.ts'
import { garbageFindings, openBackup, placeOf } from '../../app/wiring/open-backup.ts'
import { crashPoint } from '../crash-point.ts'
import { createLogger } from '../../app/wiring/logger.ts'
import { type Role, Up } from '../../app/daemon/up.ts'
import type { UpEvent } from '../../app/daemon/up-events.ts'
import { TidemarkError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import type { Run } from '../run.ts'
import { bytesText, countText } from '../../terminal/output.ts'

function words(event: UpEvent): string | undefined {
  switch (event.event) {
    case 'starting':
      return `generation ${event.generation}, from ${event.from}`
    case 'base-table':
      return `  base: ${event.table}, ${countText(event.rows)} rows, ${bytesText(event.bytes)}`
    case 'base-waiting':
      return `  waiting for open transactions${event.pids.length === 0 ? '' : ` of processes ${event.pids.join(', ')}`}${event.prepared.length === 0 ? '' : `${event.pids.length === 0 ? '' : ', and'} that are prepared: ${event.prepared.join(', ')} (COMMIT PREPARED or ROLLBACK PREPARED ends one)`}`
    case 'base':
      return `base durable: ${countText(event.rows)} rows, ${bytesText(event.bytes)}, closes at ${event.closing}`
    case 'streaming':
      return `streaming from ${event.position}`
    case 'durable':
      return `durable to ${event.to}: ${countText(event.transactions)} transactions, ${countText(event.changes)} changes, ${bytesText(event.bytes)}, ${(event.lagMs / 1000).toFixed(1)} s behind`
    case 'caught-up':
      return `durable to ${event.to}: nothing waits`
    case 'gap':
      return `GAP in ${event.table} from ${event.from}: ${event.reason}; the table is being read again`
    case 'identity':
      return `${event.table}: ${identityText(event.now)}`
    case 'untold':
      return event.tables.length === 0
        ? 'every table can be recorded again'
        : `NOT COVERED: the schema of ${event.tables.join(', ')} changed, and the role may not alter them or they are locked; make the role their owner`
    case 'source-fitness':
      return event.trouble === null
        ? 'the source is fit for the next start again'
        : `WOULD NOT START AGAIN: ${event.trouble.code}: ${event.trouble.message}; next: ${event.trouble.next}`
    case 'schema-differs':
      return `the schema was read as a whole and ${event.statements} statements were other than known: they are replaced`
    case 'gap-closed':
      return 'gap closed'
    case 'generation':
      return `new generation ${event.generation}: ${event.reason}`
    case 'signer':
      return `the signing key was rotated: ${event.signer} signs from now on`
    case 'retry':
      return `trying again${event.inMs === undefined ? '' : ` in ${(event.inMs / 1000).toFixed(1)} s`}: ${event.code}: ${event.message}${event.next === undefined ? '' : `; ${event.next}`}`
    case 'stopped':
      return event.drained
        ? 'stopped; everything received is durable'
        : 'stopped before everything received was durable: the rest was never acknowledged and comes again'
    case 'anchor-failed':
      return `the head of the ledger could not be anchored in ${event.place}: ${event.code}: ${event.message}`
    case 'orphans':
      return `${event.place} comes back from before a promotion: its entries ${event.from} to ${event.to} of lineage ${event.lineage} are set aside under orphans/, and it is filled as a copy`
    case 'wal-budget':
      return `  nothing more counts as durable meanwhile: ${bytesText(event.lagBytes)} of WAL wait on the source${event.bytes === null ? ', without a limit (max_slot_wal_keep_size is not set)' : event.seconds === null ? `; ${bytesText(event.bytes)} more may` : `; at this rate there is room for ${Math.round(event.seconds / 60)} minutes more`}`
    case 'copy':
      return `the copy ${event.place} has everything up to ledger entry ${event.entry}`
    case 'copy-failed':
      return `the copy ${event.place} is behind: ${event.code}: ${event.message}; it is tried again`
    case 'scrubbed':
      return `scrubbed share ${event.part + 1} of ${event.parts}: ${countText(event.objects)} objects, ${event.mended} mended${event.lost > 0 ? `, ${event.lost} LOST in every store: tidemark verify names what they cover` : ''}${event.left > 0 ? `, ${event.left} damaged and not taken back by their store` : ''}${event.away.length > 0 ? `; not looked at: ${event.away.join(', ')}` : ''}`
    case 'damage':
      return `DAMAGED: ${event.objects} objects, ${event.repaired} more are right again: tidemark doctor`
    case 'locks':
      return `locked in ${event.place} until ${event.until}: ${countText(event.objects)} objects`
    case 'swept':
      return `took away what crashes had left of uploads in ${event.place}: ${countText(event.files)} files`
    case 'upkeep-failed':
      return `upkeep is tried again: ${event.code}: ${event.message}`
    case 'sharing':
      return `${event.leads ? 'leads, and ' : ''}builds the cuts of ${event.lanes.length === 0 ? 'no lane' : `lanes ${event.lanes.join(', ')}`}`
    case 'log-anew':
      return `the change log LOST records that were not stored yet (${event.reason}); it begins anew, and the source sends them again`
    case 'foreign':
      return `a record that is not ours in ${event.topic}/${event.partition} at offset ${event.offset}: passed over`
    case 'base-progress':
      return undefined
  }
}

const ROLES: readonly { readonly name: string; readonly role: Role; readonly what: string }[] = [
  {
    name: 'up',
    role: 'both',
    what: 'run: the base if there is none, then the stream. SIGTERM drains, a second one leaves at once',
  },
  {
    name: 'replicator',
    role: 'replicator',
    what: 'run one half alone: from the source into Kafka, and the base into the store',
  },
  {
    name: 'compactor',
    role: 'compactor',
    what: 'run the other half alone: from Kafka into the store; needs no access to the source',
  },
]

function identityText(now: string): string {
  if (now === 'left out')
    return 'left out of the publication: without a replica identity its UPDATE and DELETE failed. Its changes are a gap until it has one'
  if (now === 'locked')
    return 'it needs another replica identity, and it is locked or belongs to another role: tried again'
  if (now === 'published') return 'published again'
  return `its replica identity is ${now} now`
}

/** Events that somebody has to look at, whatever they say. */
const ALARMS = {
  'log-anew': 'the change log lost records',
  untold: 'tables that are not covered',
  'schema-differs': 'the schema was known wrongly',
} as const

const DRAINING = `stopping: what was received is being made durable, for ${LIMITS.drainMs / 1000} s at most; a second signal leaves at once, and what is not durable comes again`

export function registerUp(program: Command, run: Run): void {
  for (const { name, role, what } of ROLES) register(program, run, name, role, what)
}

function register(program: Command, run: Run, name: string, role: Role, what: string): void {
  program
    .command(name)
    .description(what)
    .option(
      '--http-port <N>',
      'where /healthz, /readyz, /protected and /metrics are (default: http in tidemark.yaml)',
    )
    .option('--new-generation', 'give up the old slot: a gap, a new generation and a new base')
    .action(async (_, command: Command) =>
      run(command, async (context) => {
        const config = context.config()
        const { output } = context
        const log = createLogger(config.logLevel)
        const { repository, keys, anchors, anchored, copies } = await openBackup({
          ...placeOf(config),
          acceptLoss: context.acceptLoss,
          role: 'writer',
        })
        for (const finding of [...keys.findings, ...garbageFindings(repository)]) output.warn(finding)
        const lost = anchored === undefined ? await acceptedLoss(anchors) : undefined
        await audit(repository, context.actor, name, 'start')
        let lastProgress = 0
        const up = new Up({
          config,
          repository,
          role,
          ...crashPoint(process.env),
          anchors,
          copies,
          lossAccepted: lost !== undefined,
          newGeneration:
            lost ??
            (command.optsWithGlobals<{ newGeneration?: boolean }>().newGeneration === true
              ? 'begun by tidemark up --new-generation'
              : undefined),
          onEvent: (event) => {
            if (event.event === 'base-progress') {
              if (performance.now() - lastProgress < 1000) return
              lastProgress = performance.now()
              output.event(
                event,
                `  base: ${countText(event.rows)} of about ${countText(Math.round(Math.max(event.estimatedRows, event.rows)))} rows`,
              )
              return
            }
            const alarm = event.event in ALARMS ? ALARMS[event.event as keyof typeof ALARMS] : undefined
            // Lines for people say it themselves, and JSON would stand between them.
            const raise = (what: string): void => (output.json ? log.error(event, what) : undefined)
            if (alarm !== undefined) raise(alarm)
            if (event.event === 'scrubbed' && event.lost + event.left > 0) raise('damaged objects')
            if (event.event === 'damage' && event.objects > 0) raise('damaged objects')
            // What is tried again is a line of its own, and not said twice.
            output.event(event, words(event))
          },
        })
        const hard = new AbortController()
        let isTold = false
        const onSignal = (): void => {
          if (isTold) hard.abort(new DOMException('second signal', 'AbortError'))
          else output.event({ event: 'draining', withinMs: LIMITS.drainMs }, DRAINING)
          isTold = true
          up.drain()
        }
        process.on('SIGTERM', onSignal).on('SIGINT', onSignal)
        const server = healthServer(() => up.health)
        try {
          const address = await listen(server, config.http.host, httpPort(command, role, config))
          output.event({ event: 'listening', address })
          await up.run(hard.signal)
          output.result({ end: repository.catalog.generation?.facts.generation })
        } finally {
          process.off('SIGTERM', onSignal).off('SIGINT', onSignal)
          await server.close()
        }
      }),
    )
}

function httpPort(command: Command, role: Role, config: Config): number {
  const given = command.optsWithGlobals<{ httpPort?: string }>().httpPort
  if (given === undefined) return role === 'compactor' ? config.http.compactorPort : config.http.port
  if (!/^\d{1,5}$/.test(given) || Number(given) > 65_535)
    throw new TidemarkError('USAGE', `--http-port ${given}: a number from 0 to 65535 is wanted`)
  return Number(given)
}
