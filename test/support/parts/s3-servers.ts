/** S3 servers of others, by the names of their packages: what a backup meets in the world. */
import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { openSync, readFileSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Client } from 'minio/dist/esm/minio.mjs'
import { freePort } from '../../../services/demo/embedded-postgres.ts'
import { buildProgram, type GoProgram, whyNoProgram } from './go-program.ts'
import { fetchRunnable, whyNoJava } from './maven.ts'
import { fetchNpm } from './npm-packages.ts'
import { fetchPython, whyNoPython } from './python-packages.ts'

const USER = 'tidemark'
const PASSWORD = 'tidemark-secret'
const START_MS = 240_000

interface Command {
  readonly program: string
  readonly args: readonly string[]
  readonly env?: Readonly<Record<string, string>>
}

export interface S3Kind {
  /** `unsafe`: two writers of one name may both win, and a primary store there is refused. `unlikely`: that is seen in many rounds only. */
  readonly creates: 'safe' | 'unsafe' | 'unlikely'
  readonly versions: boolean
  readonly locks: boolean
  /** Where they are the program's own. */
  readonly keys?: { readonly user: string; readonly password: string }
  /** What it has outlives kill -9. */
  readonly lasts: boolean
  readonly whyNot: () => string | undefined
  readonly command: (folder: string, port: number) => Promise<Command>
}

const MINIO: GoProgram = {
  name: 'minio',
  module: 'github.com/minio/minio',
  version: 'v0.0.0-20260212201848-7aac2a2c5b7c',
}
const VERSITYGW: GoProgram = {
  name: 'versitygw',
  module: 'github.com/versity/versitygw/cmd/versitygw',
  version: 'v1.8.0',
}
const JVM = ['-Xmx384m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1']

export const S3_KINDS: Readonly<Record<string, S3Kind>> = {
  versitygw: {
    creates: 'safe',
    versions: true,
    locks: true,
    lasts: true,
    whyNot: () => whyNoProgram(VERSITYGW),
    command: async (folder, port) => {
      for (const one of ['data', 'versions']) await mkdir(join(folder, one), { recursive: true })
      return {
        program: await buildProgram(VERSITYGW),
        args: [
          ...['--quiet', '--keep-alive', '--port', `127.0.0.1:${port}`],
          ...['--access', USER, '--secret', PASSWORD],
          ...['posix', '--versioning-dir', join(folder, 'versions'), join(folder, 'data')],
        ],
      }
    },
  },
  minio: {
    creates: 'safe',
    versions: true,
    locks: true,
    lasts: true,
    whyNot: () => whyNoProgram(MINIO),
    command: async (folder, port) => ({
      program: await buildProgram(MINIO),
      args: ['server', '--quiet', '--address', `127.0.0.1:${port}`, join(folder, 'data')],
      env: {
        MINIO_ROOT_USER: USER,
        MINIO_ROOT_PASSWORD: PASSWORD,
        MINIO_BROWSER: 'off',
        MINIO_UPDATE: 'off',
        MINIO_CI_CD: '1',
      },
    }),
  },
  moto: {
    creates: 'unlikely',
    versions: true,
    locks: true,
    lasts: false,
    whyNot: whyNoPython,
    command: async (_, port) => ({
      program: 'python3',
      args: [
        '-c',
        'import sys; from moto.server import main; main(sys.argv[1:])',
        ...['-H', '127.0.0.1', '-p', String(port)],
      ],
      env: { PYTHONPATH: await fetchPython('moto-5.2.5', ['moto[server,s3]==5.2.5']) },
    }),
  },
  s3proxy: {
    creates: 'unsafe',
    versions: false,
    locks: false,
    lasts: true,
    whyNot: whyNoJava,
    command: async (folder, port) => {
      await mkdir(join(folder, 'data'), { recursive: true })
      const settings = {
        's3proxy.endpoint': `http://127.0.0.1:${port}`,
        's3proxy.authorization': 'aws-v4',
        's3proxy.identity': USER,
        's3proxy.credential': PASSWORD,
        'jclouds.provider': 'filesystem-nio2',
        'jclouds.filesystem.basedir': join(folder, 'data'),
      }
      const file = join(folder, 's3proxy.conf')
      await writeFile(
        file,
        Object.entries(settings)
          .map(([name, value]) => `${name}=${value}\n`)
          .join(''),
      )
      const jar = await fetchRunnable(
        { group: 'org.gaul', artifact: 's3proxy', version: '3.1.0' },
        'jar-with-dependencies',
      )
      return { program: 'java', args: [...JVM, '-jar', jar, '--properties', file] }
    },
  },
  s3mock: {
    creates: 'unsafe',
    versions: false,
    locks: false,
    lasts: false,
    whyNot: whyNoJava,
    command: async (folder, port) => {
      const jar = await fetchRunnable(
        { group: 'com.adobe.testing', artifact: 's3mock', version: '5.2.0' },
        'exec',
      )
      return {
        program: 'java',
        args: [...JVM, `-Dhttp.port=${port}`, '-Dserver.port=0', '-jar', jar],
        env: { COM_ADOBE_TESTING_S3MOCK_STORE_ROOT: join(folder, 'data') },
      }
    },
  },
  s3rver: {
    creates: 'unsafe',
    versions: false,
    locks: false,
    lasts: true,
    keys: { user: 'S3RVER', password: 'S3RVER' },
    whyNot: () => undefined,
    command: async (folder, port) => ({
      program: process.execPath,
      args: [
        join(await fetchNpm('s3rver', '3.7.1'), 'bin', 's3rver.js'),
        ...[
          '--address',
          '127.0.0.1',
          '--port',
          String(port),
          '--directory',
          join(folder, 'data'),
          '--silent',
        ],
      ],
    }),
  },
}

export class S3Server implements AsyncDisposable {
  readonly port: number
  readonly #folder: string
  readonly #command: Command
  readonly #keys: { readonly user: string; readonly password: string }
  #child: ChildProcess | undefined

  private constructor(folder: string, port: number, command: Command, keys: S3Kind['keys']) {
    this.#folder = folder
    this.port = port
    this.#command = command
    this.#keys = keys ?? { user: USER, password: PASSWORD }
  }

  static async create(kind: S3Kind, folder: string): Promise<S3Server> {
    await mkdir(folder, { recursive: true })
    const port = await freePort()
    const server = new S3Server(folder, port, await kind.command(folder, port), kind.keys)
    await server.start()
    return server
  }

  get endpoint(): string {
    return `http://127.0.0.1:${this.port}`
  }

  /** Makes a bucket; the URL of a store in it. */
  async bucket(
    options: { readonly versions?: boolean; readonly locks?: boolean } = {},
  ): Promise<{ readonly name: string; readonly url: string }> {
    const { user, password } = this.#keys
    const client = new Client({
      endPoint: '127.0.0.1',
      port: this.port,
      useSSL: false,
      region: 'us-east-1',
      accessKey: user,
      secretKey: password,
    })
    const name = `b${randomBytes(6).toString('hex')}`
    await client.makeBucket(name, 'us-east-1', { ObjectLocking: options.locks === true })
    if (options.versions === true) await client.setBucketVersioning(name, { Status: 'Enabled' })
    const credentials = join(this.#folder, 'credentials')
    await writeFile(
      credentials,
      `[default]\naws_access_key_id = ${user}\naws_secret_access_key = ${password}\n`,
    )
    return {
      name,
      url: `s3://${name}/chat?endpoint=${encodeURIComponent(this.endpoint)}&credentials=${encodeURIComponent(credentials)}`,
    }
  }

  async start(): Promise<void> {
    const { program, args, env } = this.#command
    const log = join(this.#folder, 'log')
    const file = openSync(log, 'a')
    const child = spawn(program, [...args], {
      cwd: this.#folder,
      env: { ...process.env, ...env },
      stdio: ['ignore', file, file],
    })
    this.#child = child
    for (const deadline = performance.now() + START_MS; ; ) {
      try {
        await fetch(this.endpoint)
        child.unref()
        return
      } catch (error) {
        if (child.exitCode !== null || performance.now() > deadline)
          throw new Error(`the server did not start:\n${readFileSync(log, 'utf8').slice(-2000)}`, {
            cause: error,
          })
        await new Promise((resolve) => setTimeout(resolve, 50))
      }
    }
  }

  /** kill -9. */
  async kill(): Promise<void> {
    const child = this.#child
    if (child === undefined) return
    this.#child = undefined
    const exited = new Promise((resolve) => child.once('exit', resolve))
    child.ref()
    child.kill('SIGKILL')
    await exited
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill()
  }
}
