/** One million changes behind a slot to durable encrypted segments, against pg_recvlogical draining the same to /dev/null. */
import { execFile } from 'node:child_process'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Figure } from './main.ts'
import { median, spread, timed } from './tools.ts'
import type { Workplace } from './workplace.ts'

const run = promisify(execFile)

interface ChildReport {
  readonly seconds: number
  readonly bytes: number
  readonly changes: number
  readonly peakBytes: number
  readonly cpu: { readonly user: number; readonly system: number }
}

async function captureOnce(workplace: Workplace, until: string, reserved?: string): Promise<ChildReport> {
  const slot = reserved ?? (await workplace.copySlot())
  const backup = await workplace.freshBackup(slot)
  const script = new URL('./capture-child.ts', import.meta.url).pathname
  const { stdout } = await run(
    process.execPath,
    [script, backup.storeUrl, backup.keys, workplace.url, until],
    { maxBuffer: 1 << 20 },
  )
  await workplace.dropSlot(slot)
  await rm(backup.storeUrl, { recursive: true, force: true })
  return JSON.parse(stdout.trim().split('\n').at(-1)!) as ChildReport
}

export async function benchCapture(workplace: Workplace, changes: number): Promise<Figure[]> {
  const { say, tools, pairs } = workplace.options
  const ratios: number[] = []
  const ours: number[] = []
  const theirs: number[] = []
  const peaks: number[] = []
  let bytes = 0
  for (let i = 0; i < pairs; i++) {
    const slot = await workplace.copySlot()
    const peer = await timed(join(tools, 'pg_recvlogical'), [
      '-d',
      workplace.url,
      '-S',
      slot,
      '--start',
      '-f',
      '/dev/null',
      '-o',
      'proto_version=1',
      '-o',
      `publication_names=${workplace.publication}`,
      '-E',
      workplace.end,
    ])
    await workplace.dropSlot(slot)
    const own = await captureOnce(workplace, workplace.end)
    bytes = own.bytes
    ours.push(own.seconds)
    theirs.push(peer)
    ratios.push(peer / own.seconds)
    peaks.push(own.peakBytes / 1e6)
    say(
      `capture: ours ${own.seconds.toFixed(2)} s (cpu ${((own.cpu.user + own.cpu.system) / 1e6).toFixed(1)} s, ${(own.peakBytes / 1e6).toFixed(0)} MB, ${own.changes} changes, ${(own.bytes / 1e6).toFixed(1)} MB), pg_recvlogical ${peer.toFixed(2)} s`,
    )
  }
  const share = workplace.walBytes / bytes
  return [
    {
      what: `capture: ${changes.toLocaleString('en-US')} changes behind a slot to durable encrypted segments`,
      against: `pg_recvlogical to /dev/null, ${median(theirs).toFixed(1)} s (${spread(theirs)})`,
      measured: `${median(ours).toFixed(1)} s (${spread(ours)}): ${median(ratios).toFixed(2)} of its rate (${spread(ratios)})`,
      reach: 'at least 0.95',
      reached: median(ratios) >= 0.95,
    },
    {
      what: 'memory of that run',
      against: '',
      measured: `${Math.max(...peaks).toFixed(0)} MB`,
      reach: 'at most 400 MB',
      reached: Math.max(...peaks) <= 400,
    },
    {
      what: 'stored bytes for the changes, encrypted',
      against: `the WAL they made, ${(workplace.walBytes / 1e6).toFixed(0)} MB`,
      measured: `${(bytes / 1e6).toFixed(1)} MB: 1/${share.toFixed(1)}`,
      reach: 'at most an eighth',
      reached: share >= 8,
    },
  ]
}

/** The same changes with one transaction of a million rows behind them; after the figures that are about the changes alone. */
export async function benchMemory(workplace: Workplace, slot: string): Promise<Figure[]> {
  const { say, client } = workplace.options
  say('one transaction of 1,000,000 rows')
  await client.query('INSERT INTO receipts SELECT 900000000 + i, 1, now() FROM generate_series(1, 1000000) i')
  await workplace.endStream()
  const one = await captureOnce(workplace, workplace.end, slot)
  return [
    {
      what: 'memory of a capture with one transaction of 1 M rows',
      against: '',
      measured: `${(one.peakBytes / 1e6).toFixed(0)} MB`,
      reach: 'at most 400 MB',
      reached: one.peakBytes <= 400e6,
    },
  ]
}
