import { defineConfig } from 'vitest/config'
import { LongestFirst } from './support/longest-first.ts'

const scope = process.env['TIDEMARK_TEST_SCOPE'] ?? 'default'

export default defineConfig({
  root: new URL('..', import.meta.url).pathname,
  test: {
    include:
      scope === 'soak'
        ? [
            'test/property/pipeline.test.ts',
            'test/property/ledger.test.ts',
            'test/integration/random-history.test.ts',
            'test/integration/grown-history.test.ts',
            'test/fault/proxy.test.ts',
            'test/fault/crash.test.ts',
            'test/fault/kafka-network.test.ts',
          ]
        : ['test/{unit,contract,property,integration,fault,tidy,interop}/**/*.test.ts'],
    globalSetup: ['test/support/servers.ts'],
    pool: 'forks',
    // Most tests wait more than they compute: TIDEMARK_TEST_WORKERS=3 suits a quiet machine of two cores.
    maxWorkers: Number(process.env['TIDEMARK_TEST_WORKERS'] ?? 2),
    sequence: { sequencer: LongestFirst },
    // Node runs the files as it runs the product: without Vite's transformation, each file starts two seconds earlier.
    experimental: { viteModuleRunner: false, nodeLoader: false },
    setupFiles: ['test/support/compiled.ts'],
    retry: 0,
    testTimeout: scope === 'soak' ? 900_000 : 120_000,
    hookTimeout: 120_000,
    teardownTimeout: 30_000,
    // A failure in the background fails the run: nothing is swallowed.
    dangerouslyIgnoreUnhandledErrors: false,
  },
})
