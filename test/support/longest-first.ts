/** The order of the test files: the longest first, so that the workers end together. */
import { relative } from 'node:path'
import { BaseSequencer, type TestSpecification } from 'vitest/node'

/** What takes long, the longest first, as measured. A file that is not here comes behind them. */
const LONGEST = [
  'fault/kafka',
  'fault/compactors',
  'fault/kafka-loss',
  'integration/kafka',
  'contract/object-store',
  'fault/kafka-network',
  'fault/damage',
  'integration/sequences',
  'integration/untold-schema',
  'fault/silence',
  'integration/catalog',
  'fault/stores',
  'fault/kafka-cluster',
  'fault/hazards',
  'integration/quick-ddl',
  'integration/first-run',
  'property/pipeline',
  'property/ledger',
  'integration/ddl',
  'fault/identities',
  'fault/copies',
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
