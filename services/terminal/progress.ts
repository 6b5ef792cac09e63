/** Progress: a bar on a terminal, a plain line now and then elsewhere, nothing with --json. */
import { Presets, SingleBar } from 'cli-progress'

const LINE_EVERY_MS = 5_000

export class Progress {
  readonly #bar: SingleBar | undefined
  readonly #plain: boolean
  #stage = ''
  #saidAt = 0

  constructor(silent: boolean) {
    const terminal = process.stderr.isTTY === true && !silent
    this.#plain = !terminal && !silent
    this.#bar = terminal
      ? new SingleBar(
          {
            format: '{stage} {bar} {percentage}% {what}',
            stream: process.stderr,
            hideCursor: true,
            clearOnComplete: true,
          },
          Presets.shades_classic,
        )
      : undefined
  }

  show(stage: string, done: number, total: number, what: string): void {
    if (this.#bar !== undefined) {
      if (stage !== this.#stage) {
        this.#bar.stop()
        this.#bar.start(Math.max(1, total), done, { stage, what })
      } else this.#bar.update(done, { stage, what })
    } else if (this.#plain && (stage !== this.#stage || performance.now() - this.#saidAt > LINE_EVERY_MS)) {
      this.#saidAt = performance.now()
      process.stderr.write(`${stage}: ${done}/${total} ${what}\n`)
    }
    this.#stage = stage
  }

  stop(): void {
    this.#bar?.stop()
  }
}
