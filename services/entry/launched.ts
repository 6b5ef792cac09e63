/**
 * Ties this process to the launcher that an older Node runs (tidemark.cjs). When the launcher is gone, this process is
 * asked to stop as by SIGTERM: else it would live on unseen, with the slot and the port. A signal that the launcher
 * passes on counts once: a terminal, systemd and most supervisors send it to the whole group, and a second SIGTERM would
 * leave without draining.
 */

/** A signal from the launcher and the group's own come within so many milliseconds of each other. */
const ECHO_MS = 500

const SIGNALS = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const
type StopSignal = (typeof SIGNALS)[number]

/** Returns what lets go of the launcher: an open channel would hold the process after its last line. */
export function tieToLauncher(): () => void {
  if (process.env['TIDEMARK_LAUNCHED'] === undefined || process.channel === undefined) return () => undefined
  delete process.env['TIDEMARK_LAUNCHED']
  const received = new Map<StopSignal, number>()
  for (const signal of SIGNALS) {
    const note = (): void => {
      received.set(signal, performance.now())
      if (process.listenerCount(signal) > 1) return
      // Nobody else listens: the system's own answer, which a listener switches off.
      process.off(signal, note)
      process.kill(process.pid, signal)
    }
    process.on(signal, note)
  }
  const passOn = (signal: StopSignal): void => {
    const at = performance.now()
    setTimeout(() => {
      if ((received.get(signal) ?? Number.NEGATIVE_INFINITY) < at - ECHO_MS) process.kill(process.pid, signal)
    }, ECHO_MS).unref()
  }
  process.on('message', (message: unknown) => {
    const signal = SIGNALS.find((name) => name === (message as { signal?: unknown } | null)?.signal)
    if (signal !== undefined) passOn(signal)
  })
  const onGone = (): void => void process.kill(process.pid, 'SIGTERM')
  process.once('disconnect', onGone)
  process.channel.unref()
  return () => {
    process.off('disconnect', onGone)
    if (process.connected) process.disconnect()
  }
}
