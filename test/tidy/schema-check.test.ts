/** The nightly check of the schema has no way to keys, settings or store, and says what the command takes. */
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { parse } from 'yaml'

interface CronJob {
  readonly spec: {
    readonly jobTemplate: {
      readonly spec: {
        readonly template: {
          readonly spec: {
            readonly automountServiceAccountToken: boolean
            readonly containers: readonly {
              readonly args: readonly string[]
              readonly volumeMounts?: unknown
            }[]
            readonly volumes: readonly { readonly name: string; readonly emptyDir?: unknown }[]
          }
        }
      }
    }
  }
}

test('the job has no volume but its scratch database', () => {
  const text = readFileSync(new URL('../../infra/kubernetes/schema-check.yaml', import.meta.url), 'utf8')
  const pod = (parse(text) as CronJob).spec.jobTemplate.spec.template.spec
  expect(pod.automountServiceAccountToken).toBe(false)
  expect(pod.volumes).toEqual([{ name: 'scratch', emptyDir: {} }])
  expect(pod.containers.map((c) => [c.volumeMounts, c.args.filter((arg) => !/[:(]/.test(arg))])).toEqual([
    [undefined, ['doctor', '--source', '--scratch']],
  ])
})
