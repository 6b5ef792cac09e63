/** Settings: what is wrong in one section keeps nothing else from being done. */
import { expect, test } from 'vitest'
import { parseConfig, retentionFinding } from '../../services/app/config/config.ts'

const SETTINGS = `version: 1
source: {url: postgresql://localhost/x, slot: s, publication: p}
store: {url: /backups/x}
`

test.each([
  ['keep: 90 dayz', /retention\.keep: "90 dayz" is not a time/],
  ['kep: 90d', /unknown setting retention\.kep/],
  ['bases: 0', /retention\.bases/],
])('retention: {%s} takes nothing away and stops nothing else', (typo, what) => {
  const config = parseConfig(`${SETTINGS}retention: {${typo}}\n`, '/x/tidemark.yaml')
  expect(config.retention).toBeUndefined()
  expect(config.storeUrl).toBe('/backups/x')
  expect(retentionFinding(config)).toMatchObject({
    code: 'RETENTION_INVALID',
    what: expect.stringMatching(what) as string,
  })
})

test('any other section that is wrong is refused, with the one of retention', () => {
  expect(() => parseConfig(`${SETTINGS}retention: {keep: x}\nroll: {age: y}\n`, '/x')).toThrow(/roll\.age/)
  expect(retentionFinding(parseConfig(SETTINGS, '/x'))).toBeUndefined()
})

test('what is no YAML is told by its line, without its text', () => {
  const broken = `${SETTINGS}keys: 'a secret\nhttp: {port: 1\n`
  expect(() => parseConfig(broken, '/x')).toThrow(/^\/x is not YAML: line \d+, column \d+ \([A-Z_]+\)$/)
})
