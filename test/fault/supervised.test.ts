/** The running job as a whole: told to stop before it begins, and failures of what runs beside the stream. */
import { expect, test } from 'vitest'
import { Up } from '../../services/app/daemon/up.ts'
import type { UpEvent } from '../../services/app/daemon/up-events.ts'
import { openBackup, placeOf } from '../../services/app/wiring/open-backup.ts'
import { Backup } from '../support/backup.ts'

const SETUP = 'CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)'

test('told to stop before it begins, it begins nothing and ends', async () => {
  await using backup = await Backup.prepare({ setup: SETUP })
  await backup.init()
  const { repository } = await openBackup({ ...placeOf(backup.config), role: 'writer' })
  const events: UpEvent[] = []
  const up = new Up({ config: backup.config, repository, onEvent: (event) => void events.push(event) })
  up.drain()
  await up.run(new AbortController().signal)
  expect(events).toEqual([{ event: 'stopped', drained: true }])
})

test('a mistake of ours beside the stream ends the job with it, and is nobody else’s', async () => {
  await using backup = await Backup.prepare({ setup: SETUP, anchors: true })
  await backup.init()
  const { repository, anchors } = await openBackup({ ...placeOf(backup.config), role: 'writer' })
  anchors.write = () => Promise.reject(new TypeError('ours'))
  const up = new Up({ config: backup.config, repository, anchors, onEvent: () => undefined })
  await expect(up.run(new AbortController().signal)).rejects.toMatchObject({
    code: 'INTERNAL',
    cause: { message: 'ours' },
  })
})
