/** Above the engines nothing speaks an engine's language: how much still does, room by room, may only become less. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'

const SERVICES = new URL('../../services/', import.meta.url).pathname

/** Words that mean something to PostgreSQL alone; in names too: commitLsn, nextXid, pg_class. */
const WORDS =
  /[Ll]sn|LSN|[Xx]id|\b[Ss]lots?\b|[a-z]Slot|[Pp]ublication|relkind|typmod|setval|pgoutput|\bCOPY\b|\bpg_\w+|PostgreSQL|\bWAL\b/g

/** As many as there were when this was counted. Lower the number with the words; it never goes up. */
const LEFT: Readonly<Record<string, number>> = {
  core: 4,
  formats: 1,
  repository: 3,
  history: 8,
  replicator: 0,
  compactor: 0,
  rebuild: 0,
  lifecycle: 0,
}

/** What was written by a program that knew PostgreSQL alone has its words. */
const READS_FORMAT_1: ReadonlySet<string> = new Set(['formats/format-1.ts'])

test.each(Object.keys(LEFT))('%s has no more words of an engine than before', (room) => {
  const found = readdirSync(join(SERVICES, room), { recursive: true })
    .map(String)
    .filter((name) => name.endsWith('.ts') && !READS_FORMAT_1.has(`${room}/${name}`))
    .flatMap((name) =>
      (readFileSync(join(SERVICES, room, name), 'utf8').match(WORDS) ?? []).map((word) => `${name}: ${word}`),
    )
  expect(found.length, found.join('\n')).toBeLessThanOrEqual(LEFT[room]!)
})

/** What only wiring may: the operations and the daemon have ports for it. */
const OF_ENGINES = /\.query[(<]|from 'pg'|\/engines\//g

test.each(['operations', 'daemon'])('app/%s asks no engine but through its port', (room) => {
  const found = readdirSync(join(SERVICES, 'app', room))
    .filter((name) => name.endsWith('.ts'))
    .flatMap((name) =>
      (readFileSync(join(SERVICES, 'app', room, name), 'utf8').match(OF_ENGINES) ?? []).map(
        (what) => `${name}: ${what}`,
      ),
    )
  expect(found).toEqual([])
})
