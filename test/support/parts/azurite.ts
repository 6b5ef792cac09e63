/** Azurite, Azure's own emulator of the blob service, fetched by its npm name and kept outside the checkout. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdirSync, openSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { freePort } from '../../../services/demo/embedded-postgres.ts'
import { listening } from './java-process.ts'
import { CACHE } from './maven.ts'

const VERSION = '3.37.0'
/** The account that every Azurite has, and its published key. */
export const ACCOUNT = 'devstoreaccount1'
export const ACCOUNT_KEY =
  'Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=='

export class Azurite {
  readonly port: number
  readonly #folder: string
  readonly #isSecure: boolean
  #child: ChildProcess | undefined

  private constructor(folder: string, port: number, isSecure: boolean) {
    this.#isSecure = isSecure
    this.#folder = folder
    this.port = port
  }

  static async create(
    folder: string,
    certificate?: { readonly cert: string; readonly key: string },
  ): Promise<Azurite> {
    const cache = join(CACHE, `azurite-${VERSION}`)
    if (!existsSync(join(cache, 'node_modules', 'azurite', 'package.json'))) {
      console.log(`fetching Azurite ${VERSION} (once; kept in ${cache})`)
      mkdirSync(cache, { recursive: true })
      execFileSync(
        'npm',
        [
          'install',
          '--prefix',
          cache,
          '--no-save',
          '--ignore-scripts',
          '--no-audit',
          '--no-fund',
          `azurite@${VERSION}`,
        ],
        { stdio: 'ignore' },
      )
    }
    mkdirSync(folder, { recursive: true })
    if (certificate !== undefined)
      for (const part of ['cert', 'key'] as const)
        writeFileSync(join(folder, `${part}.pem`), certificate[part])
    return new Azurite(folder, await freePort(), certificate !== undefined)
  }

  get endpoint(): string {
    return `${this.#isSecure ? 'https' : 'http'}://127.0.0.1:${this.port}/${ACCOUNT}`
  }

  async start(): Promise<void> {
    const log = openSync(join(this.#folder, 'log'), 'a')
    const script = join(
      CACHE,
      `azurite-${VERSION}`,
      'node_modules',
      'azurite',
      'dist',
      'src',
      'blob',
      'main.js',
    )
    this.#child = spawn(
      process.execPath,
      [
        script,
        '--blobHost',
        '127.0.0.1',
        '--blobPort',
        String(this.port),
        '--location',
        this.#folder,
        '--skipApiVersionCheck',
        '--silent',
        '--disableTelemetry',
        ...(this.#isSecure
          ? ['--cert', join(this.#folder, 'cert.pem'), '--key', join(this.#folder, 'key.pem')]
          : []),
      ],
      { stdio: ['ignore', log, log] },
    )
    this.#child.unref()
    for (const deadline = performance.now() + 90_000; ; ) {
      try {
        await listening(this.port)
        return
      } catch (error) {
        if (this.#child.exitCode !== null || performance.now() > deadline)
          throw new Error(`Azurite did not start; its log is in ${this.#folder}`, { cause: error })
        await new Promise((resolve) => setTimeout(resolve, 50))
      }
    }
  }

  /** Ends it; it writes what it knows of its containers then. */
  async stop(): Promise<void> {
    const child = this.#child
    if (child === undefined) return
    this.#child = undefined
    const exited = new Promise((resolve) => child.once('exit', resolve))
    child.ref()
    child.kill('SIGTERM')
    await exited
  }
}
