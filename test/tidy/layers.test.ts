/** The style that matters, as a test: imports go down the layers, files stay small, no `any`, schemas fit the code. */
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize, relative } from 'node:path'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { configFile } from '../../services/app/config/config.ts'
import { entryBody } from '../../services/formats/ledger-entry.ts'

const ROOT = new URL('../..', import.meta.url).pathname
const files = (folder: string): string[] =>
  readdirSync(join(ROOT, folder), { recursive: true })
    .map(String)
    .filter((name) => name.endsWith('.ts'))
    .map((name) => join(folder, name))

/** Rooms of one house that know each other in one direction only: each may import those before it. */
function inARow(...rooms: readonly string[]): Record<string, readonly string[]> {
  return Object.fromEntries(rooms.map((room, at) => [room, rooms.slice(0, at)]))
}

const GROUND = ['core', 'formats']
const POSTGRES = inARow(
  'engines/postgres/dialect',
  'engines/postgres/session',
  'engines/postgres/catalog',
  'engines/postgres/snapshot',
  'engines/postgres/admin',
  'engines/postgres/source',
  'engines/postgres/target',
)
const MYSQL = inARow(
  'engines/mysql/session',
  'engines/mysql/events',
  'engines/mysql/values',
  'engines/mysql/dialect',
  'engines/mysql/binlog',
  'engines/mysql/copy',
  'engines/mysql/catalog',
  'engines/mysql/source',
  'engines/mysql/admin',
  'engines/mysql/target',
)
const KAFKA = inARow(
  'adapters/kafka/client',
  'adapters/kafka/records',
  'adapters/kafka/registry',
  'adapters/kafka/topics',
  'adapters/kafka/reading',
  'adapters/kafka/writing',
  'adapters/kafka/board',
  'adapters/kafka/change-log',
  'adapters/kafka/examine',
)
const ADAPTERS = ['adapters/direct', 'adapters/keys', 'adapters/object-store']
const JOBS = ['replicator', 'compactor', 'history', 'rebuild', 'lifecycle']
/** What all of app may know. */
const BELOW_APP = [
  ...GROUND,
  'repository',
  ...JOBS,
  'engines/memory',
  ...Object.keys(POSTGRES),
  ...Object.keys(MYSQL),
  ...ADAPTERS,
  ...Object.keys(KAFKA),
]
const APP = inARow('app/config', 'app/wiring', 'app/operations', 'app/daemon')

/** What each layer may import, besides itself. */
const ALLOWED: Readonly<Record<string, readonly string[]>> = {
  core: [],
  formats: ['core'],
  repository: GROUND,
  history: [...GROUND, 'repository'],
  replicator: [...GROUND, 'repository'],
  compactor: [...GROUND, 'repository'],
  rebuild: [...GROUND, 'repository', 'history'],
  lifecycle: [...GROUND, 'repository', 'history'],
  ...Object.fromEntries(Object.entries(POSTGRES).map(([room, before]) => [room, [...GROUND, ...before]])),
  ...Object.fromEntries(Object.entries(MYSQL).map(([room, before]) => [room, [...GROUND, ...before]])),
  'engines/memory': GROUND,
  ...Object.fromEntries(ADAPTERS.map((adapter) => [adapter, GROUND])),
  ...Object.fromEntries(Object.entries(KAFKA).map(([room, before]) => [room, [...GROUND, ...before]])),
  ...Object.fromEntries(Object.entries(APP).map(([room, before]) => [room, [...BELOW_APP, ...before]])),
  api: ['core', ...Object.keys(APP)],
  terminal: ['core'],
  cli: ['core', 'api', 'terminal', 'demo', ...Object.keys(APP)],
  demo: ['core', 'terminal', ...Object.keys(APP), ...Object.keys(POSTGRES)],
  entry: ['cli'],
}

/** Folders that are several rooms, and how many names a room of theirs has. */
const HOUSES: Readonly<Record<string, number>> = {
  'adapters/kafka': 3,
  adapters: 2,
  app: 2,
  'engines/memory': 2,
  engines: 3,
}

function layerOf(path: string): string {
  const parts = relative('services', path).split('/')
  const names = HOUSES[`${parts[0]}/${parts[1]}`] ?? HOUSES[parts[0]!] ?? 1
  return parts.slice(0, names).join('/')
}

/** What each file imports of ours, types included. */
const imports = new Map(
  files('services').map((file) => [
    file,
    [...readFileSync(join(ROOT, file), 'utf8').matchAll(/(?:from|import\()\s*'(\.[^']+)'/g)].map(
      ([, target]) => normalize(join(dirname(file), target!)),
    ),
  ]),
)

/** Those that lead back to themselves, each with the way. */
function circles(graph: ReadonlyMap<string, readonly string[]>): string[] {
  const found: string[] = []
  const over = new Set<string>()
  const visit = (node: string, way: readonly string[]): void => {
    if (way.includes(node)) found.push([...way.slice(way.indexOf(node)), node].join(' -> '))
    if (over.has(node)) return
    over.add(node)
    for (const next of graph.get(node) ?? []) visit(next, [...way, node])
  }
  for (const node of graph.keys()) visit(node, [])
  return found
}

test('imports go down the layers', () => {
  const wrong = [...imports].flatMap(([file, targets]) =>
    targets
      .filter((target) => {
        const [layer, other] = [layerOf(file), layerOf(target)]
        return other !== layer && !ALLOWED[layer]!.includes(other)
      })
      .map((target) => `${file} imports ${target}`),
  )
  expect(wrong).toEqual([])
  expect(circles(new Map(Object.entries(ALLOWED)))).toEqual([])
})

test('a dialect needs no connection, no file and no clock', () => {
  const rooms = [...Object.keys(POSTGRES), ...Object.keys(MYSQL)].filter((room) => room.endsWith('/dialect'))
  const wrong = rooms
    .flatMap((room) => files(join('services', room)))
    .filter((file) =>
      /from '(?!\.|zod'|node:crypto')|\basync\b|\bawait\b|\bprocess\.|Date\.now|Math\.random/.test(
        readFileSync(join(ROOT, file), 'utf8'),
      ),
    )
  expect(rooms).toHaveLength(2)
  expect(wrong).toEqual([])
})

/** What of the room with kafkajs in it others may see: the contract, and what gives them a client. */
const CLIENT = 'services/adapters/kafka/client'
const DOORS = ['client', 'connection', 'damaged-batch', 'errors', 'settings'].map(
  (name) => `${CLIENT}/${name}.ts`,
)
const KAFKAJS = /(?:from|import|import\(|require\(|resolve\()\s*'kafkajs[/']/

test('kafkajs stays in its room', () => {
  const wrong = [...imports].flatMap(([file, targets]) => {
    if (file.startsWith(`${CLIENT}/`)) return []
    const inside = targets.filter((target) => target.startsWith(`${CLIENT}/`) && !DOORS.includes(target))
    const text = readFileSync(join(ROOT, file), 'utf8')
    return [...inside, ...(KAFKAJS.test(text) ? ['kafkajs'] : [])].map((what) => `${file} imports ${what}`)
  })
  expect(wrong).toEqual([])
})

test('kafkajs is loaded by one file alone, behind all that replaces parts of it', () => {
  // A statement's own specifier is its first quoted text; parts of kafkajs may be required one by one.
  const loading = files(CLIENT).filter((file) =>
    /^(?:import(?! type\b)|export [{*])[^']*'kafkajs[/']|(?:import|require)\('kafkajs'\)/m.test(
      readFileSync(join(ROOT, file), 'utf8'),
    ),
  )
  expect(loading).toEqual([`${CLIENT}/kafkajs.ts`])
})

test('no imports go round in a circle, types included', () => {
  expect(circles(imports)).toEqual([])
  expect(
    circles(
      new Map([
        ['a', ['b']],
        ['b', ['c']],
        ['c', ['b']],
      ]),
    ),
  ).toEqual(['b -> c -> b'])
})

/** Files that were longer than the guide when it was set. None may grow, and none may join them. */
const LONG: Readonly<Record<string, number>> = {
  'services/adapters/object-store/s3-store.ts': 413,
  'services/repository/catalog.ts': 410,
  'services/formats/ledger-entry.ts': 405,
}

test('files have one job: at most 400 lines', () => {
  const lines = (file: string): number => readFileSync(join(ROOT, file), 'utf8').split('\n').length - 1
  const long = [...files('services'), ...files('test')].filter((file) => lines(file) > (LONG[file] ?? 400))
  expect(long).toEqual([])
})

test('no any, no enum, no skipped or exclusive test', () => {
  const wrong: string[] = []
  for (const file of [...files('services'), ...files('test')]) {
    const text = readFileSync(join(ROOT, file), 'utf8')
    if (!file.startsWith('test/tidy') && /(:|<|\bas) any\b/.test(text)) wrong.push(`${file}: any`)
    if (!file.startsWith('test/tidy') && /\b(it|test|describe)\.(only|todo|skip)\(/.test(text))
      wrong.push(`${file}: a test that does not run`)
  }
  expect(wrong).toEqual([])
})

/** What of its process an operation may not look at by itself: the face that it was asked through looks, and hands it over. */
const SURROUNDINGS = /process\.(?:env|argv|cwd)|\b(?:homedir|userInfo|hostname)\(/

test('operations get their surroundings from whoever asks', () => {
  const found = files('services/app').filter((file) =>
    SURROUNDINGS.test(readFileSync(join(ROOT, file), 'utf8')),
  )
  expect(found).toEqual([])
})

test('every file says what it is for', () => {
  const silent = files('services').filter((file) => !readFileSync(join(ROOT, file), 'utf8').startsWith('/**'))
  expect(silent).toEqual([])
})

test('the JSON schemas are those of the code', () => {
  const read = (name: string): unknown => JSON.parse(readFileSync(join(ROOT, 'schemas', name), 'utf8'))
  expect(read('ledger-entry.schema.json')).toEqual(
    JSON.parse(JSON.stringify(z.toJSONSchema(entryBody, { io: 'input' }))),
  )
  expect(read('config.schema.json')).toEqual(
    JSON.parse(JSON.stringify(z.toJSONSchema(configFile, { io: 'input' }))),
  )
})
