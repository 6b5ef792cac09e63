/** For crash tests alone: TIDEMARK_CRASH_AT=point:n kills this process, as kill -9 does, at the n-th passing of a named point; with TIDEMARK_CRASH_BY=SIGSTOP it is stopped there. */
export function crashPoint(environment: Readonly<Record<string, string | undefined>>): {
  readonly onPoint?: (point: string) => void
} {
  const wanted = environment['TIDEMARK_CRASH_AT']
  if (wanted === undefined) return {}
  const by = environment['TIDEMARK_CRASH_BY'] === 'SIGSTOP' ? 'SIGSTOP' : 'SIGKILL'
  const [point = '', count = '1'] = wanted.split(':')
  let left = Number(count)
  return {
    onPoint: (passed) => {
      if (passed === point && --left === 0) process.kill(process.pid, by)
    },
  }
}
