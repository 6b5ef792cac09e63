/** What is installed in a source runs as its administrator: no name in it may be somebody else's to choose. */
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { FUNCTIONS, installedSql } from '../../services/engines/postgres/admin/install.ts'
import { INSTALLED_VERSION } from '../../services/engines/postgres/admin/upgrade.ts'

const FOLDER = new URL('../../services/engines/postgres/sql/', import.meta.url)
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

/** What each version put into a source. A line stays as it is once its version is in a source somewhere. */
const DIGESTS: Readonly<Record<number, string>> = {
  5: '37373977d77cc46dfe0767b29985694762482e32eb413f53d3e6ef9ffa3226ac',
  6: '85d38767447f9948dc764edffe52ab04e3e9d5906c6091ae3fd9508ec00379f5',
  7: '655f5417f9f0a878fccbbca5c13f88c56f18b0db51097267248ae33af21e3cb6',
  8: 'ee1e68dde9b9c04e1f3c78aef1eaed9573537def65a1146cb6ba2559d07dd224',
  9: '2c7b24b3e75d39e642b50c0694277451b0787a7b06705cb3361d4c7e0bd682b3',
  10: '498a220f4902fb788bb0a6375fd3d5b18182cc4d1f53c3af8a930973f47ba3f8',
  11: '3cef20a7cdd330a02412d9fa34f9d993da32c8a99369bce03deb03b269db13e6',
  12: 'bbfed1c98c9d584ae6b4cbd831b2c07c95874e417e91a95827556cf7f80c43b3',
  13: '451a9a2c8600ab711745079421460b8a8b923abe89a61f2c2414e3989491ab0e',
  14: '86598198d206597a93053453433b7b62d52105e61e17c9ba2c7991fe0d766afb',
  15: 'e368a50e704ff8e374debd4a957c948c0cd9aa9474e213496c6e9c81fe89db2e',
  16: '91a37302a33af9d687d82bba4e86a675df43a049d9ee7b72b7573ebe12d15273',
  17: '8735f2046c8ba0e9210bf1af983e5622873822b3f628ca170bf40633b5f09680',
  18: 'ad2e5afa837be829f2ab2e3d2f049dd1b6a570242104e2c8a330e4ad0d914784',
  19: '822b898a2a013ad4f873a54a275f38c3e79a9e47ed4e99684d927e10cb9819ea',
  20: 'bac6c83c25748b4b0c3988ace4c98d0dbd3c2573586050664c8838c5650c7d31',
  21: 'bc5707c20c511826f6c4f1a83196822e34e65901deb169748ce1a8775c16922b',
  22: '9e3c3acfa169405cdaa411703c2360d7b1657761b78bd219559d3371e2f0af92',
  23: 'b33e338c477f07bc3f0cd8e26d4e4e64304f52e062a4f032e2475e87b709e75a',
}

test('what is installed is what its version says', async () => {
  const hash = createHash('sha256')
  for (const name of ['tables', ...FUNCTIONS, 'event-triggers', 'create-event-triggers', 'alter-trigger'])
    hash.update(
      (await installedSql(name))
        .split('\n')
        .filter((line) => !/^\s*(--|$)/.test(line))
        .join('\n'),
    )
  const digest = hash.digest('hex')
  expect(
    digest,
    `The SQL that init installs is not that of version ${INSTALLED_VERSION}. Sources that have this version would keep the old text and be taken for new ones. Raise tidemark.version() in sql/version.sql and INSTALLED_VERSION in upgrade.ts, write sql/upgrade-${INSTALLED_VERSION}.sql for what CREATE OR REPLACE does not change, and add the digest of the new version here: ${digest}`,
  ).toBe(DIGESTS[INSTALLED_VERSION])
})
