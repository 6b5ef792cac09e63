/** `doctor`: every finding about source, store and keys with its fix, and what the backup does not cover. */
import { isErrorCode, streamTrouble } from '../../core/error-codes.ts'
import { clearDatabase } from '../wiring/clear-database.ts'
import type { Finding } from '../../core/finding.ts'
import { isRowTooLarge, largestRowHere } from '../../core/row-limit.ts'
import { asTidemarkError } from '../../core/errors.ts'
import { examineLog } from '../wiring/compose.ts'
import { openAdmin } from '../wiring/source-admin.ts'
import { garbageFindings, openBackup, openStore, placeOf } from '../wiring/open-backup.ts'
import { type Config, retentionFinding } from '../config/config.ts'
import { ledgerName } from '../../formats/object-name.ts'
import { examineProgress } from './examine-progress.ts'
import { askedSource, examineSource } from './examine-source.ts'
import { examineAnchors } from './examine-anchors.ts'
import { examineStore } from './examine-store.ts'
import { damageFindings } from './damage-report.ts'
import { examineSchema } from './scratch.ts'
import { readWindows } from './windows.ts'

export interface DoctorReport {
  readonly findings: readonly Finding[]
  readonly notCovered: readonly string[]
  /** Those of `findings` that the scratch database showed. */
  readonly tried: readonly Finding[]
}

/** @param options.scratch URL of an empty database in which the schema is tried */
export async function doctor(
  config: Config,
  options: {
    readonly scratch?: string | undefined
    readonly signal?: AbortSignal
    /** What libpq's environment says where the URL does not. */
    readonly sslMode?: string | undefined
  } = {},
): Promise<DoctorReport> {
  const signal = options.signal ?? new AbortController().signal
  const findings: Finding[] = []
  let notCovered: readonly string[] = []
  let tried: readonly Finding[] = []
  const clear = clearDatabase(config.source.url, 'source', options.sslMode)
  if (clear !== undefined) findings.push(clear)
  const retention = retentionFinding(config)
  if (retention !== undefined) findings.push(retention)
  findings.push(...examineRowLimit(config.source.largestRow))
  try {
    const admin = openAdmin(config.source)
    findings.push(...(await admin.examine(config.kafka?.partitionBy)))
    // Its reader asks what Tidemark has in the source.
    const isInstalled = findings.every(({ code }) => code !== 'INSTALLATION_MISSING')
    const schema = isInstalled ? await admin.schema() : undefined
    notCovered = schema?.notes ?? []
    if (schema !== undefined && options.scratch !== undefined) {
      const result = await examineSchema(admin, schema.statements, options.scratch, signal)
      tried = result.findings
      notCovered = [...notCovered, ...result.notes]
    }
  } catch (error) {
    findings.push(asFinding(error))
  }
  for (const [url, use] of [
    [config.storeUrl, 'primary'] as const,
    ...(config.copies ?? []).map(({ url, mode }) => [url, mode] as const),
  ]) {
    try {
      const store = await openStore(url)
      // A disk that is not mounted: nothing may be made in its place. That the backup is missing is said below.
      if (use === 'primary' && (await store.size(ledgerName(1, 1n))) === undefined) continue
      findings.push(...(await examineStore(store, use)))
    } catch (error) {
      findings.push(asFinding(error))
    }
  }
  findings.push(...(await examineBackup(config, findings, signal)))
  findings.push(...(await examineLog(config)))
  if (await restoreKeysHere(config.keys))
    findings.push({
      level: 'warn',
      code: 'RESTORE_KEYS_HERE',
      what: 'keys/restore lies on this host: whoever takes it can read the backup',
      fix: 'move the folder keys/restore to a safe place (restores need it)',
    })
  // Advice for another database than the backup's would lead to changes in it: that it is another one goes before all else.
  const all = [...findings, ...tried]
  const isOther = ({ code }: Finding): boolean => code === 'SOURCE_CHANGED'
  return { findings: [...all.filter(isOther), ...all.filter((one) => !isOther(one))], notCovered, tried }
}

/** What the backup itself shows, and whether the source can go on from it. @param said already, of the source */
async function examineBackup(
  config: Config,
  said: readonly Finding[],
  signal: AbortSignal,
): Promise<Finding[]> {
  const findings: Finding[] = []
  try {
    const { repository, keys, anchored, compared } = await openBackup({ ...placeOf(config), role: 'writer' })
    for (const copy of compared)
      if (copy.outcome === 'behind' && copy.synchronous)
        findings.push({
          level: 'warn',
          code: 'COPY_BEHIND',
          what: `the synchronous copy ${copy.place} is ${copy.behind ?? ''} entries behind: it is filled before anything more counts as durable`,
          fix: 'tidemark up',
        })
    if (anchored?.length === 0)
      findings.push({
        level: 'warn',
        code: 'NO_ANCHOR',
        what: 'the head of the ledger is anchored nowhere: who can write the store can cut off its newest entries unnoticed',
        fix: 'anchors: [URL] in tidemark.yaml, a folder or a store that the writers of this one cannot change',
      })
    findings.push(...(await examineAnchors(config.anchors ?? [], anchored ?? [])))
    for (const { place, outcome, why } of anchored ?? []) {
      if (outcome === 'unreachable')
        findings.push({
          level: 'warn',
          code: 'ANCHOR_UNREACHABLE',
          what: `the anchor in ${place} cannot be read: ${why ?? ''}`,
          fix: 'check the place',
        })
      if (place === repository.ledger.store.place)
        findings.push({
          level: 'warn',
          code: 'ANCHOR_INSIDE',
          what: 'the anchor lies in the store itself: who rolls one back rolls back both',
          fix: 'anchors: [URL] in tidemark.yaml, outside of the store',
        })
    }
    findings.push(...keys.findings, ...garbageFindings(repository), ...damageFindings(repository))
    if (keys.writerCanRead)
      findings.push({
        level: 'warn',
        code: 'WRITER_CAN_READ',
        what: 'the writer holds an AES key: whoever takes this host can read the whole backup',
        fix: 'use RSA recipients: tidemark init --recipients rsa',
      })
    for (const gap of readWindows(repository).gaps)
      if (gap.open)
        findings.push({
          level: 'warn',
          code: 'GAP',
          what: `${gap.scope} has an open gap from ${gap.from}: ${gap.reason}`,
          fix: isRowTooLarge(gap.reason)
            ? 'make the row smaller, or source.largestRow in tidemark.yaml larger, then: tidemark up  (reads the table again)'
            : 'tidemark up  (reads the table again, or has begun a new generation)',
        })
    const trouble = await examineSource(askedSource(config), repository, true)
    if (trouble === undefined) findings.push(...(await examineProgress(config, repository, signal)))
    else if (!isSaid(trouble.code, said)) findings.push(asFinding(trouble))
  } catch (error) {
    findings.push(asFinding(error))
  }
  return findings
}

/** What only a comparison with the ledger tells. Any other trouble keeps the source from being asked, and has its finding. */
function isOfLedger(code: string): boolean {
  if (code === 'SOURCE_CHANGED' || code === 'SOURCE_DIVERGED') return true
  const trouble = isErrorCode(code) ? streamTrouble(code) : undefined
  return trouble === 'ahead' || trouble === 'lost' || trouble === 'absent'
}

function isSaid(code: string, said: readonly Finding[]): boolean {
  return said.some((finding) => finding.level === 'refuse' && (finding.code === code || !isOfLedger(code)))
}

/** A limit that leaves no room for what it lets in. */
function examineRowLimit(limit: number | undefined): Finding[] {
  const here = largestRowHere()
  if (limit === undefined || limit <= 2 * here) return []
  return [
    {
      level: 'warn',
      code: 'ROW_LIMIT',
      what: `source.largestRow lets in rows of ${Math.round(limit / 1024 ** 2)} MiB, and the memory here is enough for ${Math.round(here / 1024 ** 2)} MiB: such a row can end the process, again and again`,
      fix: 'give the process more memory, or lower source.largestRow: larger rows are then gaps of their tables',
    },
  ]
}

async function restoreKeysHere(folder: string): Promise<boolean> {
  const { access } = await import('node:fs/promises')
  return access(`${folder}/restore/trust.json`).then(
    () => true,
    () => false,
  )
}

function asFinding(error: unknown): Finding {
  const known = asTidemarkError(error)
  return { level: 'refuse', code: known.code, what: known.message, fix: known.next }
}
