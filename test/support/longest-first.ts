/** The order of the test files: the longest first, so that the workers end together. */
import { relative } from 'node:path'
import { BaseSequencer, type TestSpecification } from 'vitest/node'

/** What takes long, the longest first, as measured. A file that is not here comes behind them. */
const LONGEST = [
  'fault/kafka-loss',
  'fault/kafka',
  'fault/stores',
  'fault/compactors',
  'integration/recording',
  'fault/retention-stores',
  'integration/kafka',
  'fault/large-row',
  'integration/catalog',
  'fault/edge',
  'fault/crash',
  'fault/identities',
  'fault/kafka-shortened',
  'integration/first-run',
  'fault/kafka-network',
  'fault/taken-away',
  'fault/every-command',
  'fault/copies',
  'fault/known-damage',
  'fault/kafka-cluster',
  'fault/health',
  'fault/listed-publication',
  'fault/retention',
  'integration/sequences',
  'integration/untold-schema',
  'fault/unmade',
  'integration/random-history',
  'integration/renamed',
  'integration/every-kind',
  'fault/failover',
  'fault/kafka-access',
  'fault/silent-stores',
  'integration/dropped',
  'fault/mishaps',
  'integration/key-services',
  'integration/quick-ddl',
  'integration/cli',
  'fault/reads-with-copies',
  'integration/closed-output',
  'fault/kafka-batches',
  'integration/unrecorded-table',
  'integration/installation',
  'integration/ddl',
  'fault/hazards',
  'property/schema-readings',
  'fault/kafka-streams',
  'integration/column-identity',
  'fault/damage',
  'integration/keys',
  'fault/refusals',
  'fault/server',
  'integration/mark',
  'integration/grown-history',
  'integration/scratch',
  'integration/untold-readings',
  'integration/extension-rows',
  'integration/ddl-cost',
  'property/pipeline',
  'integration/hostile-settings',
  'fault/launcher',
  'fault/silence',
  'integration/error-words',
  'integration/kafka-secured',
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
