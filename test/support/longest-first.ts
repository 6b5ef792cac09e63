/** The order of the test files: the longest first, so that the workers end together. */
import { relative } from 'node:path'
import { BaseSequencer, type TestSpecification } from 'vitest/node'

/** What takes long, the longest first, as measured. A file that is not here comes behind them. */
const LONGEST = [
  'fault/damage',
  'fault/mishaps',
  'fault/compactors',
  'integration/first-run',
  'fault/stores',
  'fault/kafka',
  'fault/kafka-loss',
  'integration/kafka',
  'fault/identities',
  'fault/copies',
  'integration/recording',
  'fault/hazards',
  'fault/kafka-network',
  'integration/cli',
  'integration/untold-schema',
  'integration/sequences',
  'integration/catalog',
  'fault/kafka-cluster',
  'contract/object-store',
  'integration/column-identity',
  'integration/quick-ddl',
  'integration/ddl',
  'property/pipeline',
  'property/ledger',
  'property/schema-readings',
  'fault/edge',
  'integration/scratch',
  'integration/ddl-cost',
  'fault/crash',
  'integration/installation',
  'fault/launcher',
  'fault/retention-stores',
  'integration/random-history',
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
