/**
 * Key services for the tests: local-kms, which speaks AWS KMS' protocol (built once by its Go module's name), and a server of the part of
 * Vault's HTTP interface that the transit engine is (AES-256-GCM, `vault:vN:` ciphertexts, tokens with rights). Vault itself takes a
 * quarter of an hour to build.
 */
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import { createServer, type IncomingMessage, type Server } from 'node:http'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { freePort } from '../../../services/demo/embedded-postgres.ts'
import { type GoProgram, startProgram, stopProgram, whyNoProgram } from './go-program.ts'

const LOCAL_KMS: GoProgram = {
  name: 'local-kms',
  module: 'github.com/nsmithuk/local-kms',
  version: 'v0.0.0-20260228092603-2a5e92d09ab6',
}
export const NO_KMS = whyNoProgram(LOCAL_KMS)
if (NO_KMS !== undefined) console.log(`AWS KMS is not tested here: ${NO_KMS}`)

export interface KmsBench extends AsyncDisposable {
  readonly endpoint: string
  readonly keys: readonly string[]
  kill(): Promise<void>
}

export async function startKms(folder: string): Promise<KmsBench> {
  const port = await freePort()
  const ids = ['bc436485-5092-42b8-92a3-0aa8b93536dc', '7f3a1c1e-6b1e-4a0e-9d53-5ad6d8a6b2c1']
  await mkdir(folder, { recursive: true })
  const seed = join(folder, 'seed.yaml')
  await writeFile(
    seed,
    `Keys:\n  Symmetric:\n    Aes:\n${ids.map((id) => `      - Metadata:\n          KeyId: ${id}\n        BackingKeys:\n          - ${randomBytes(32).toString('hex')}\n`).join('')}`,
  )
  const endpoint = `http://127.0.0.1:${port}`
  const child = await startProgram(LOCAL_KMS, [], {
    folder,
    url: endpoint,
    env: {
      PORT: String(port),
      KMS_REGION: 'eu-west-2',
      KMS_ACCOUNT_ID: '111122223333',
      KMS_SEED_PATH: seed,
      KMS_DATA_PATH: folder,
    },
  })
  return {
    endpoint,
    keys: ids.map((id) => `arn:aws:kms:eu-west-2:111122223333:key/${id}`),
    kill: () => stopProgram(child),
    [Symbol.asyncDispose]: () => stopProgram(child),
  }
}

export class TransitServer implements AsyncDisposable {
  readonly address: string
  readonly #server: Server
  readonly #keys = new Map<string, Buffer[]>()
  /** Token to what it may: `encrypt/KEY`, `decrypt/KEY`. */
  readonly tokens = new Map<string, ReadonlySet<string>>()
  /** Answers 503, as a sealed Vault does. */
  isSealed = false

  private constructor(server: Server, port: number) {
    this.#server = server
    this.address = `http://127.0.0.1:${port}`
    server.on('request', (request, response) => {
      void this.#answer(request).then(({ status, body }) =>
        response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body)),
      )
    })
  }

  static async start(): Promise<TransitServer> {
    const server = createServer()
    const port = await freePort()
    await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
    return new TransitServer(server, port)
  }

  /** Makes a key, or a newer version of it. */
  rotate(key: string): void {
    this.#keys.set(key, [...(this.#keys.get(key) ?? []), randomBytes(32)])
  }

  async #answer(request: IncomingMessage): Promise<{ status: number; body: unknown }> {
    const errors = (status: number, ...texts: string[]): { status: number; body: unknown } => ({
      status,
      body: { errors: texts },
    })
    const parts: Buffer[] = []
    for await (const part of request) parts.push(part as Buffer)
    if (this.isSealed) return errors(503, 'Vault is sealed')
    const [, operation, key] = /^\/v1\/transit\/(encrypt|decrypt)\/([^/]+)$/.exec(request.url ?? '') ?? []
    if (request.method !== 'POST' || operation === undefined || key === undefined) return errors(404)
    if (this.tokens.get(String(request.headers['x-vault-token']))?.has(`${operation}/${key}`) !== true)
      return errors(403, 'permission denied')
    const versions = this.#keys.get(key)
    if (versions === undefined) return errors(400, 'encryption key not found')
    const body = JSON.parse(Buffer.concat(parts).toString('utf8')) as {
      plaintext?: string
      ciphertext?: string
      associated_data?: string
    }
    const associated = Buffer.from(body.associated_data ?? '', 'base64')
    if (operation === 'encrypt') {
      const nonce = randomBytes(12)
      const cipher = createCipheriv('aes-256-gcm', versions.at(-1)!, nonce).setAAD(associated)
      const sealed = Buffer.concat([
        nonce,
        cipher.update(Buffer.from(body.plaintext ?? '', 'base64')),
        cipher.final(),
        cipher.getAuthTag(),
      ])
      return {
        status: 200,
        body: {
          data: {
            ciphertext: `vault:v${versions.length}:${sealed.toString('base64')}`,
            key_version: versions.length,
          },
        },
      }
    }
    const [, version, text] = /^vault:v(\d+):(.+)$/.exec(body.ciphertext ?? '') ?? []
    const secret = versions[Number(version) - 1]
    if (secret === undefined || text === undefined)
      return errors(400, 'invalid ciphertext: unable to decrypt')
    const sealed = Buffer.from(text, 'base64')
    try {
      const decipher = createDecipheriv('aes-256-gcm', secret, sealed.subarray(0, 12), { authTagLength: 16 })
        .setAAD(associated)
        .setAuthTag(sealed.subarray(-16))
      return {
        status: 200,
        body: {
          data: {
            plaintext: Buffer.concat([decipher.update(sealed.subarray(12, -16)), decipher.final()]).toString(
              'base64',
            ),
          },
        },
      }
    } catch {
      return errors(400, 'cipher: message authentication failed')
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await new Promise((resolve) => this.#server.close(resolve))
  }
}
