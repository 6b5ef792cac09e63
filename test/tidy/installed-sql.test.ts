/** What is installed in a source runs as its administrator: no name in it may be somebody else's to choose. */
import { readdirSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { INSTALLED_VERSION } from '../../services/adapters/postgres/upgrade.ts'

const FOLDER = new URL('../../services/adapters/postgres/sql/', import.meta.url)
const scripts = readdirSync(FOLDER).map((name) => ({
  name,
  lines: readFileSync(new URL(name, FOLDER), 'utf8')
    .split('\n')
    .filter((line) => !/^\s*--/.test(line)),
}))

test('every relation of the catalog is named with its schema', () => {
  const bare = scripts.flatMap(({ name, lines }) =>
    lines
      .filter((line) => /\b(?:FROM|JOIN|UPDATE|INTO)\s+pg_(?!catalog\.)|'pg_(?!catalog\.)\w+'::/.test(line))
      .map((line) => `${name}: ${line.trim()}`),
  )
  expect(bare).toEqual([])
})

test('every function pins its search path, with temporary objects last', () => {
  for (const { name, lines } of scripts) {
    const text = lines.join('\n')
    const heads = text.match(/\bCREATE (?:OR REPLACE )?FUNCTION[\s\S]*?\bAS \$/g) ?? []
    for (const head of heads) expect(head, name).toMatch(/\bSET search_path = pg_catalog, pg_temp\b/)
    // An upgrade replaces them: dropped, they would fail in sessions that are just about to run them.
    for (const head of heads) expect(head, name).toMatch(/^CREATE OR REPLACE/)
  }
})

test('the version of the scripts is the one that the program asks for', () => {
  const text = scripts.find(({ name }) => name === 'version.sql')?.lines.join('\n')
  expect(/SELECT (\d+)/.exec(text ?? '')?.[1]).toBe(String(INSTALLED_VERSION))
})
