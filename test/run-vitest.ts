/** Starts vitest and prints its totals as one plain line; any failure, and no test at all, is a non-zero exit. */
import { parseCLI, startVitest } from 'vitest/node'

const { filter, options } = parseCLI(['vitest', 'run', ...process.argv.slice(2)])
const vitest = await startVitest('test', filter, {
  ...options,
  watch: false,
  config: new URL('./vitest.config.ts', import.meta.url).pathname,
})
const totals = { passed: 0, failed: 0, skipped: 0 }
for (const module of vitest.state.getTestModules()) {
  const failedBefore = totals.failed
  if (module.errors().length > 0) totals.failed++
  for (const test of module.children.allTests()) {
    const { state } = test.result()
    if (state === 'passed') totals.passed++
    else if (state === 'skipped') totals.skipped++
    else totals.failed++
  }
  // A set-up that failed leaves its tests "skipped".
  if (module.state() === 'failed' && totals.failed === failedBefore) totals.failed++
}
const unhandled = vitest.state.getUnhandledErrors().length
await vitest.close()
console.log(`${totals.passed} passed, ${totals.failed + unhandled} failed, ${totals.skipped} skipped`)
process.exit(totals.failed + unhandled > 0 || totals.passed === 0 ? 1 : 0)
