/** The command line as a user runs it: a process of its own. */
import { type ChildProcess, spawn } from 'node:child_process'

const ENTRY = new URL('../../services/entry/tidemark.cjs', import.meta.url).pathname

/** The commands that listen. */
const RUNS: readonly string[] = ['up', 'replicator', 'compactor']

export interface Answer {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
  /** The last line of standard output, parsed. */
  readonly last: Record<string, unknown> & {
    ok?: boolean
    /** `stack` and `file` of a mistake of ours. */
    error?: {
      code: string
      message: string
      means: string
      next: string
      stack?: string
      file?: string
    }
  }
}

export interface RunOptions {
  readonly cwd: string
  readonly env?: NodeJS.ProcessEnv
  /** By the `node` that PATH names: an older one starts the Node 24 that came with the packages. */
  readonly byLauncher?: boolean
}

export class Running {
  readonly child: ChildProcess
  readonly finished: Promise<Answer>
  #stdout = ''
  #stderr = ''
  static readonly #all = new Set<Running>()
  #waiting: { readonly wanted: string; readonly resolve: () => void }[] = []

  constructor(args: readonly string[], options: RunOptions) {
    // Whatever else listens on the default port of this machine is no matter for a test.
    const ownPort = RUNS.includes(args[0] ?? '') && !args.includes('--http-port')
    const node = options.byLauncher === true ? 'node' : process.execPath
    this.child = spawn(node, [ENTRY, ...args, ...(ownPort ? ['--http-port', '0'] : [])], {
      cwd: options.cwd,
      env: { ...process.env, ...options.env },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    })
    this.child.stdout?.on('data', (chunk: Buffer) => {
      this.#stdout += chunk.toString()
      for (const w of this.#waiting) if (this.#stdout.includes(w.wanted)) w.resolve()
    })
    this.child.stderr?.on('data', (chunk: Buffer) => (this.#stderr += chunk.toString()))
    Running.#all.add(this)
    this.finished = new Promise((resolve) =>
      this.child.once('close', (code, signal) => {
        Running.#all.delete(this)
        const line = this.#stdout.trim().split('\n').at(-1) ?? ''
        let last: Answer['last'] = {}
        try {
          last = JSON.parse(line) as Answer['last']
        } catch {
          // Killed processes and people's output have no such line.
        }
        resolve({ code, signal, stdout: this.#stdout, stderr: this.#stderr, last })
      }),
    )
  }

  /** What a failed test left behind. */
  static async killAll(): Promise<void> {
    for (const running of Running.#all) running.child.kill('SIGKILL')
    await Promise.all([...Running.#all].map((running) => running.finished))
  }

  /** As a terminal does: it and all that it started get the signal. */
  interrupt(): void {
    process.kill(-this.child.pid!, 'SIGINT')
  }

  /** Standard output up to now. */
  get output(): string {
    return this.#stdout
  }

  /** Resolves when the process has ended by itself. */
  ended(limitMs = 60_000): Promise<Answer> {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(
        () =>
          reject(
            new Error(
              `did not end in ${limitMs} ms: ${this.#stdout.slice(-1500)} ${this.#stderr.slice(-500)}`,
            ),
          ),
        limitMs,
      )
    })
    return Promise.race([late, this.finished]).finally(() => clearTimeout(timer))
  }

  /** Resolves when the output holds the text; rejects when the process ends before. */
  said(wanted: string, limitMs = 60_000): Promise<void> {
    if (this.#stdout.includes(wanted)) return Promise.resolve()
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(
        () =>
          reject(
            new Error(
              `did not say ${wanted} in ${limitMs} ms: ${this.#stdout.slice(-1500)} ${this.#stderr.slice(-500)}`,
            ),
          ),
        limitMs,
      )
    })
    return Promise.race([
      late,
      new Promise<void>((resolve) => this.#waiting.push({ wanted, resolve })),
      this.finished.then((answer) =>
        Promise.reject(
          new Error(
            `ended (${answer.code ?? answer.signal}) before saying ${wanted}: ${answer.stdout.slice(-500)} ${answer.stderr.slice(-500)}`,
          ),
        ),
      ),
    ]).finally(() => clearTimeout(timer))
  }
}

export function tidemark(args: readonly string[], cwd: string, env: NodeJS.ProcessEnv = {}): Promise<Answer> {
  return new Running(args, { cwd, env }).finished
}
