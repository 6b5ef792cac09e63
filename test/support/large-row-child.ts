/** One step of the large rows in a process of its own: `base`, `stream` up to a position, or `restore`; prints its peak memory. */
import { TESTER } from './actor.ts'
import { readFileSync } from 'node:fs'
import { openBackup, placeOf } from '../../services/app/wiring/open-backup.ts'
import { readConfig } from '../../services/app/config/config.ts'
import { restore } from '../../services/app/operations/restore.ts'
import { Up } from '../../services/app/daemon/up.ts'
import { comparePositions, parsePosition } from '../../services/core/position.ts'

const [step = '', configPath = '', argument = ''] = process.argv.slice(2)
const config = readConfig(configPath)
const from = performance.now()
if (step === 'restore') await restored()
else await captured()
console.log(JSON.stringify({ seconds: (performance.now() - from) / 1000, peakBytes: peakBytes() }))
process.exit(0)

async function captured(): Promise<void> {
  const { repository } = await openBackup({ ...placeOf(config), role: 'writer' })
  const done = Promise.withResolvers<void>()
  const up = new Up({
    config: { ...config, roll: { ageMs: 500, segmentBytes: config.roll.segmentBytes } },
    repository,
    onEvent: (event) => {
      if (event.event === 'retry') console.error(JSON.stringify(event))
      if (step === 'base' && event.event === 'streaming') done.resolve()
    },
  })
  const reached = (): boolean =>
    comparePositions(repository.catalog.generation!.end, parsePosition(argument)) >= 0
  const running = up.run(new AbortController().signal)
  // What the server itself writes behind the commit becomes known by a heartbeat alone, which is no event.
  const looking = setInterval(() => {
    if (step !== 'base' && repository.catalog.generation !== undefined && reached()) done.resolve()
  }, 50)
  await Promise.race([done.promise, running])
  clearInterval(looking)
  up.drain()
  await running
}

async function restored(): Promise<void> {
  await restore({
    actor: TESTER,
    storeUrl: config.storeUrl,
    keys: config.keys,
    at: 'latest',
    into: argument,
    exceptTables: [],
    dryRun: false,
    signal: new AbortController().signal,
    events: {},
  })
}

/** Not resourceUsage(): that begins with what the parent had when it forked. */
function peakBytes(): number {
  const peak = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'))
  return Number(peak?.[1] ?? process.resourceUsage().maxRSS) * 1024
}
