/** A Java server as a child: started, waited for, stopped, killed. */
import { type ChildProcess, spawn } from 'node:child_process'
import { openSync, readFileSync } from 'node:fs'
import { connect } from 'node:net'

const START_MS = 240_000

export class JavaProcess {
  readonly #args: readonly string[]
  readonly #cwd: string
  readonly #log: string
  readonly #env: NodeJS.ProcessEnv
  #child: ChildProcess | undefined
  #exited: Promise<void> = Promise.resolve()

  constructor(options: {
    readonly args: readonly string[]
    readonly cwd: string
    readonly log: string
    readonly env?: NodeJS.ProcessEnv
  }) {
    this.#args = options.args
    this.#cwd = options.cwd
    this.#log = options.log
    this.#env = options.env ?? {}
  }

  get pid(): number | undefined {
    return this.#child?.pid
  }

  /** Resolves when `ready` does not throw any more. */
  async start(ready: () => Promise<void>): Promise<void> {
    if (this.#child !== undefined) return
    const log = openSync(this.#log, 'a')
    const child = spawn('java', [...this.#args], {
      cwd: this.#cwd,
      env: { ...process.env, ...this.#env },
      stdio: ['ignore', log, log],
    })
    this.#child = child
    this.#exited = new Promise((resolve) => child.once('exit', () => resolve()))
    const deadline = performance.now() + START_MS
    for (;;) {
      if (child.exitCode !== null || child.signalCode !== null)
        throw new Error(`the server ended while starting:\n${readFileSync(this.#log, 'utf8').slice(-2000)}`)
      try {
        await ready()
        child.unref()
        return
      } catch (error) {
        if (performance.now() > deadline)
          throw new Error(
            `the server did not start in time:\n${readFileSync(this.#log, 'utf8').slice(-2000)}`,
            { cause: error },
          )
        await new Promise((resolve) => setTimeout(resolve, 50))
      }
    }
  }

  async stop(): Promise<void> {
    await this.#end('SIGTERM')
  }

  async kill(): Promise<void> {
    await this.#end('SIGKILL')
  }

  /** Freezes the process, and lets it go on. */
  signal(name: 'SIGSTOP' | 'SIGCONT'): void {
    this.#child?.kill(name)
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child
    if (child === undefined) return
    this.#child = undefined
    child.ref()
    child.kill(signal)
    const timer = setTimeout(() => child.kill('SIGKILL'), 20_000)
    await this.#exited
    clearTimeout(timer)
  }
}

/** Throws unless something listens there. */
export function listening(port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => {
      socket.destroy()
      resolve()
    })
    socket.once('error', reject)
  })
}
