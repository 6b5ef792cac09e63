/** Plans that people copy: every setting is one that this version knows, and every store's URL one that it opens. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { parse } from 'yaml'
import { openStoreUrl } from '../../services/adapters/object-store/store-url.ts'
import { configFile, parseConfig } from '../../services/app/config/config.ts'
import { systemClock, systemRandomness } from '../../services/core/clock.ts'

const PLANS = new URL('../../infra/plans/', import.meta.url).pathname

test.each(readdirSync(PLANS))('%s', async (name) => {
  const text = readFileSync(join(PLANS, name), 'utf8')
  const raw = configFile.parse(parse(text))
  for (const url of [raw.store.url, ...raw.copies.map((copy) => copy.url), ...raw.anchors]) {
    // The files that it names lie on nobody's machine but the reader's.
    await openStoreUrl(url.replace(/&ca=[^&]*/, ''), systemRandomness, systemClock)
  }
  const config = parseConfig(
    text.replace('urlFile: source-url', 'url: postgresql://127.0.0.1/chat'),
    join(PLANS, name),
  )
  expect(config.copies?.length).toBeGreaterThan(0)
  expect(config.retention?.keepMs).toBeGreaterThan(config.storeKeepMs ?? 0)
})

test('one store has to keep everything', () => {
  const text = (copyKeep: string): string =>
    `version: 1\nsource: {url: postgresql://127.0.0.1/x, slot: t, publication: t}\nstore: {url: /tmp/a, keep: 7d}\ncopies: [{url: /tmp/b${copyKeep}}]\n`
  expect(parseConfig(text(''), '/tmp/tidemark.yaml').storeKeepMs).toBe(7 * 86_400_000)
  expect(() => parseConfig(text(', keep: 30d'), '/tmp/tidemark.yaml')).toThrow(
    /one store has to keep everything/,
  )
})
