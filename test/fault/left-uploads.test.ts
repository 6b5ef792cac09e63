/** What a crash leaves of an upload in a folder goes by itself, in every store; what may still be wanted stays. */
import { mkdir, readdir, rm, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { openBackup } from '../../services/app/wiring/open-backup.ts'
import type { UpEvent } from '../../services/app/daemon/up-events.ts'
import { Supervisor } from '../../services/app/daemon/supervisor.ts'
import { upkeepTask } from '../../services/app/daemon/upkeep.ts'
import { systemClock, systemRandomness } from '../../services/core/clock.ts'
import { Backup } from '../support/backup.ts'

const HOUR = 3_600_000

test('temporary files that are older than any upload are swept by whoever runs', async () => {
  await using backup = await Backup.prepare({})
  await backup.init()
  const copy = join(backup.folder, 'copy')
  const folders = [backup.storeUrl, copy].map((root) => join(root, '.tmp'))
  const [old, young, foreign] = ['a'.repeat(24), 'b'.repeat(24), 'notes.txt']
  const leave = async (folder: string, name: string, hours: number): Promise<void> => {
    await mkdir(folder, { recursive: true })
    await writeFile(join(folder, name), 'half of an object')
    const then = new Date(Date.now() - hours * HOUR)
    await utimes(join(folder, name), then, then)
  }
  for (const folder of folders) {
    await leave(folder, old, 25)
    await leave(folder, young, 23)
    await leave(folder, foreign, 1000)
  }
  const { repository, copies } = await openBackup({
    storeUrl: backup.storeUrl,
    keys: backup.keys,
    role: 'writer',
    copies: [{ url: copy, mode: 'mirrored', role: 'local', bandwidth: undefined }],
  })
  const stop = new AbortController()
  const said: UpEvent[] = []
  let slept = 0
  const clock = {
    ...systemClock,
    sleep: () => {
      if (++slept === 3) stop.abort()
      return Promise.resolve()
    },
  }
  const say = (event: UpEvent): void => void said.push(event)
  const task = upkeepTask({ repository, copies, scrubDays: 0, say, clock, isOurs: () => true })
  await new Supervisor({ tasks: [task], clock, randomness: systemRandomness }).run(stop.signal)
  expect(said).toEqual([backup.storeUrl, copy].map((place) => ({ event: 'swept', place, files: 1 })))
  for (const folder of folders)
    expect((await readdir(folder)).filter((name) => name !== 'reserve').sort()).toEqual(
      [young, foreign].sort(),
    )
  await rm(copy, { recursive: true })
})
