/** The embedded PostgreSQL as a server for `doctor --scratch`: a folder of its own, a socket that this account alone reaches. */
import { readFile, mkdtemp, rm } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { connect } from '../engines/postgres/session/session.ts'
import { openAdmin } from '../app/wiring/source-admin.ts'
import { TidemarkError } from '../core/errors.ts'
import { EmbeddedPostgres, platformPackage } from './embedded-postgres.ts'

/** For an empty database and nothing that has to last. */
const SETTINGS = {
  listen_addresses: '',
  wal_level: 'minimal',
  max_wal_senders: '0',
  fsync: 'off',
  shared_buffers: '32MB',
}

/** As a restore's target is made; the server's own one has a comment. */
const DATABASE = 'scratch'

export class ScratchServer implements AsyncDisposable {
  readonly #server: EmbeddedPostgres
  readonly #folder: string
  readonly url: string

  private constructor(server: EmbeddedPostgres, folder: string) {
    this.#server = server
    this.#folder = folder
    this.url = server.localUrl(DATABASE)
  }

  /**
   * One of the source's major version where there is one, else a newer one.
   *
   * @throws TidemarkError SCHEMA_UNTRIED
   */
  static async start(sourceUrl: string): Promise<ScratchServer> {
    const { serverVersion, encoding } = await openAdmin({ url: sourceUrl }).server()
    const packageRoot = await packageFor(Math.trunc(serverVersion / 10_000))
    const folder = await mkdtemp(join(tmpdir(), 'tidemark-scratch-'))
    let server: EmbeddedPostgres | undefined
    try {
      server = await EmbeddedPostgres.create({
        folder: join(folder, 'server'),
        settings: SETTINGS,
        packageRoot,
        encoding,
      })
      await server.start()
      const client = await connect({
        url: server.localUrl(),
        applicationName: 'tidemark_scratch',
        role: 'target',
      })
      await client.query(`CREATE DATABASE ${DATABASE} TEMPLATE template0`)
      await client.end()
      return new ScratchServer(server, folder)
    } catch (error) {
      await server?.destroy()
      await rm(folder, { recursive: true, force: true })
      throw error
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.destroy()
    await rm(this.#folder, { recursive: true, force: true })
  }
}

async function packageFor(major: number): Promise<string> {
  const own = packageRootOf(`embedded-postgres-${major}`)
  if (own !== undefined) return own
  let root: string
  try {
    root = platformPackage()
  } catch (error) {
    throw untried(`there is no embedded PostgreSQL here`, error)
  }
  const { version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as { version: string }
  if (Number.parseInt(version, 10) < major)
    throw untried(`the embedded PostgreSQL is older (${version}) than the source (${major})`)
  return root
}

function packageRootOf(name: string): string | undefined {
  try {
    return dirname(dirname(createRequire(import.meta.url).resolve(name)))
  } catch {
    return undefined
  }
}

function untried(what: string, cause?: unknown): TidemarkError {
  return new TidemarkError('SCHEMA_UNTRIED', what, {
    cause,
    next: 'tidemark doctor --scratch URL  (an empty database of a server of yours)',
  })
}
