import { defineConfig } from 'vitest/config'
import { LongestFirst } from './support/longest-first.ts'

const scope = process.env['TIDEMARK_TEST_SCOPE'] ?? 'default'

/** What needs neither a server nor a process of its own: an answer in less than a minute. */
const QUICK = [
  'test/{unit,tidy}/**/*.test.ts',
  'test/property/{change-log,codec,ledger,pipeline}.test.ts',
  'test/contract/{change-log,key-provider,ledger}.test.ts',
]

export default defineConfig({
  root: new URL('..', import.meta.url).pathname,
  test: {
    include:
      scope === 'soak'
        ? [
            'test/property/pipeline.test.ts',
            'test/property/ledger.test.ts',
            'test/property/change-log.test.ts',
            'test/integration/random-history.test.ts',
            'test/integration/grown-history.test.ts',
            'test/fault/proxy.test.ts',
            'test/fault/crash.test.ts',
            'test/fault/kafka-network.test.ts',
            // What takes a few of its cases by turns otherwise.
            'test/fault/kafka.test.ts',
            'test/fault/kafka-loss.test.ts',
            'test/fault/kafka-streams.test.ts',
            'test/fault/reads-with-copies.test.ts',
            'test/fault/compactors.test.ts',
            'test/fault/every-command.test.ts',
            'test/integration/closed-output.test.ts',
            'test/integration/first-run.test.ts',
            'test/soak/**/*.test.ts',
          ]
        : scope === 'stores'
          ? ['test/stores/**/*.test.ts']
          : scope === 'quick'
            ? QUICK
            : ['test/{unit,contract,property,integration,fault,tidy,interop}/**/*.test.ts'],
    globalSetup: ['test/support/servers.ts'],
    pool: 'forks',
    // Tests wait more than they compute: with three, two cores are idle for a quarter of the time; with five, waits grow long.
    maxWorkers: Number(process.env['TIDEMARK_TEST_WORKERS'] ?? 4),
    // A process for each file would load the product's modules anew: a third of a second of the processor, 122 times.
    // Files that follow each other in a worker share its modules; each still has databases and folders of its own.
    isolate: false,
    sequence: { sequencer: LongestFirst },
    // Node runs the files as it runs the product: without Vite's transformation, each file starts two seconds earlier.
    experimental: { viteModuleRunner: false, nodeLoader: false },
    setupFiles: ['test/support/compiled.ts'],
    retry: 0,
    // Guards against a hang, not measures: a busy machine takes several times as long as a quiet one.
    testTimeout: scope === 'default' || scope === 'all-versions' ? 240_000 : 900_000,
    hookTimeout: 240_000,
    teardownTimeout: 30_000,
    // A failure in the background fails the run: nothing is swallowed.
    dangerouslyIgnoreUnhandledErrors: false,
  },
})
