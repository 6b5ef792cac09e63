/** MinIO, an S3 server, built once by its Go module's name and kept outside the checkout. */
import { type ChildProcess, spawn } from 'node:child_process'
import { openSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { Agent, get } from 'node:https'
import { get as getPlain, type IncomingMessage } from 'node:http'
import { join } from 'node:path'
import { freePort } from '../../../services/demo/embedded-postgres.ts'
import { buildProgram, type GoProgram, whyNoProgram } from './go-program.ts'

/** The project has no tags on the proxy. */
const MINIO: GoProgram = {
  name: 'minio',
  module: 'github.com/minio/minio',
  version: 'v0.0.0-20260212201848-7aac2a2c5b7c',
}
const START_MS = 90_000

/** Why there is no S3 server here; undefined where there is one. */
export function whyNoMinio(): string | undefined {
  return whyNoProgram(MINIO)
}

export interface MinioOptions {
  readonly folder: string
  readonly user: string
  readonly password: string
  /** TLS with this certificate. */
  readonly certificate?: { readonly cert: string; readonly key: string }
}

export class Minio {
  readonly port: number
  readonly #options: MinioOptions
  readonly #binary: string
  #child: ChildProcess | undefined

  private constructor(options: MinioOptions, binary: string, port: number) {
    this.#options = options
    this.#binary = binary
    this.port = port
  }

  static async create(options: MinioOptions): Promise<Minio> {
    const binary = await buildProgram(MINIO)
    const certs = join(options.folder, 'certs')
    await mkdir(certs, { recursive: true })
    await mkdir(join(options.folder, 'data'), { recursive: true })
    if (options.certificate !== undefined) {
      await writeFile(join(certs, 'public.crt'), options.certificate.cert)
      await writeFile(join(certs, 'private.key'), options.certificate.key)
    }
    return new Minio(options, binary, await freePort())
  }

  get endpoint(): string {
    return `${this.#options.certificate === undefined ? 'http' : 'https'}://127.0.0.1:${this.port}`
  }

  /** The files behind the buckets. */
  get data(): string {
    return join(this.#options.folder, 'data')
  }

  async start(): Promise<void> {
    const { folder, user, password } = this.#options
    const log = openSync(join(folder, 'log'), 'a')
    const env = {
      ...process.env,
      MINIO_ROOT_USER: user,
      MINIO_ROOT_PASSWORD: password,
      MINIO_BROWSER: 'off',
      MINIO_UPDATE: 'off',
      MINIO_CI_CD: '1',
      MINIO_SITE_REGION: 'us-east-1',
    }
    this.#child = spawn(
      this.#binary,
      [
        'server',
        '--quiet',
        '--address',
        `127.0.0.1:${this.port}`,
        '--certs-dir',
        join(folder, 'certs'),
        this.data,
      ],
      { env, stdio: ['ignore', log, log] },
    )
    this.#child.unref()
    const deadline = performance.now() + START_MS
    while (!(await this.#isReady())) {
      if (this.#child.exitCode !== null || performance.now() > deadline)
        throw new Error(`MinIO did not start; its log is in ${folder}`)
      await new Promise((resolve) => setTimeout(resolve, 30))
    }
  }

  #isReady(): Promise<boolean> {
    const url = `${this.endpoint}/minio/health/ready`
    return new Promise((resolve) => {
      const answered = (response: IncomingMessage): void => {
        response.resume()
        resolve(response.statusCode === 200)
      }
      const request =
        this.#options.certificate === undefined
          ? getPlain(url, answered)
          : get(url, { agent: new Agent({ ca: this.#options.certificate.cert }) }, answered)
      request.on('error', () => resolve(false))
    })
  }

  /** Freezes the process, and lets it go on. */
  signal(name: 'SIGSTOP' | 'SIGCONT'): void {
    this.#child?.kill(name)
  }

  async kill(): Promise<void> {
    const child = this.#child
    if (child === undefined) return
    this.#child = undefined
    const exited = new Promise((resolve) => child.once('exit', resolve))
    child.ref()
    child.kill('SIGKILL')
    await exited
  }
}
