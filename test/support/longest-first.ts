/** The order of the test files: the longest first, so that the workers end together. */
import { relative } from 'node:path'
import { BaseSequencer, type TestSpecification } from 'vitest/node'

/** What takes long, the longest first, as measured. A file that is not here comes behind them. */
const LONGEST = [
  'fault/stores',
  'fault/identities',
  'fault/kafka',
  'fault/kafka-loss',
  'fault/compactors',
  'integration/recording',
  'integration/catalog',
  'integration/first-run',
  'fault/large-row',
  'fault/mishaps',
  'fault/damage',
  'integration/kafka',
  'fault/kafka-network',
  'fault/kafka-shortened',
  'fault/crash',
  'fault/hazards',
  'integration/ddl',
  'fault/taken-away',
  'integration/untold-schema',
  'fault/retention-stores',
  'fault/kafka-cluster',
  'integration/sequences',
  'integration/renamed',
  'fault/unmade',
  'integration/cli',
  'fault/copies',
  'integration/every-kind',
  'integration/closed-output',
  'fault/retention',
  'property/schema-readings',
  'fault/kafka-streams',
  'integration/mark',
  'property/pipeline',
  'integration/values',
  'integration/key-services',
  'integration/keys',
  'integration/quick-ddl',
  'fault/failover',
  'integration/scratch',
  'fault/health',
  'integration/kafka-secured',
  'fault/refusals',
  'fault/server',
  'integration/column-identity',
  'integration/extension-rows',
]

export class LongestFirst extends BaseSequencer {
  override sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = (file: TestSpecification): number => {
      const name = relative(new URL('..', import.meta.url).pathname, file.moduleId)
      const at = LONGEST.indexOf(name.replace(/\.test\.ts$/, ''))
      return at < 0 ? LONGEST.length : at
    }
    return Promise.resolve([...files].sort((a, b) => rank(a) - rank(b)))
  }
}
