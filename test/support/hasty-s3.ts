/**
 * A small S3 service that looks first and writes later, as some real ones do: right as long as one create follows another, wrong when
 * two are under way. It checks no signatures.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

interface Held {
  readonly body: Buffer
  readonly at: Date
}

export class HastyS3 implements AsyncDisposable {
  readonly objects = new Map<string, Held>()
  /** Every create is refused with this, as one among many that are under way. */
  busy: { readonly status: number; readonly code: string } | undefined
  /** It says that it keeps versions, and lists none. */
  hidesVersions = false
  readonly #server: Server

  private constructor(server: Server) {
    this.#server = server
  }

  static async open(): Promise<HastyS3> {
    const server = createServer()
    const hasty = new HastyS3(server)
    server.on('request', (request, response) => {
      hasty.#answer(request, response).catch(() => response.destroy())
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return hasty
  }

  /** Of a store in it. */
  url(credentialsFile: string): string {
    const { port } = this.#server.address() as AddressInfo
    return `s3://bucket/chat?endpoint=${encodeURIComponent(`http://127.0.0.1:${port}`)}&credentials=${encodeURIComponent(credentialsFile)}`
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname, searchParams } = new URL(request.url ?? '/', 'http://localhost')
    const key = decodeURIComponent(pathname.replace(/^\/bucket\/?/, ''))
    if (request.method === 'PUT') return this.#put(key, request, response)
    request.resume()
    if (key === '') return this.#ofBucket(request.method, searchParams, response)
    const held = this.objects.get(key)
    if (request.method === 'DELETE') {
      this.objects.delete(key)
      response.writeHead(204).end()
    } else if (held === undefined) fail(response, 404, 'NoSuchKey')
    else
      response
        .writeHead(200, { 'content-length': held.body.length })
        .end(request.method === 'HEAD' ? undefined : held.body)
  }

  async #put(key: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const isThere = request.headers['if-none-match'] === '*' && this.objects.has(key)
    const { busy } = this
    const parts: Buffer[] = []
    for await (const part of request) parts.push(part as Buffer)
    // Those that come with this one see it under way.
    await new Promise(setImmediate)
    if (busy !== undefined) fail(response, busy.status, busy.code)
    else if (isThere) fail(response, 412, 'PreconditionFailed')
    else {
      this.objects.set(key, { body: Buffer.concat(parts), at: new Date() })
      response.writeHead(200).end()
    }
  }

  #ofBucket(method: string | undefined, query: URLSearchParams, response: ServerResponse): void {
    if (method === 'HEAD') {
      response.writeHead(200).end()
      return
    }
    if (query.has('versioning'))
      return xml(
        response,
        `<GetBucketVersioningOutput>${this.hidesVersions ? '<Status>Enabled</Status>' : ''}</GetBucketVersioningOutput>`,
      )
    if (query.has('object-lock')) return fail(response, 404, 'ObjectLockConfigurationNotFoundError')
    const versions = query.has('versions')
    const rows = [...this.objects]
      .filter(([key]) => key.startsWith(query.get('prefix') ?? '') && !(versions && this.hidesVersions))
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, { body, at }]) => {
        const row = `<Key>${key}</Key><LastModified>${at.toISOString()}</LastModified><Size>${body.length}</Size>`
        return versions
          ? `<Version>${row}<VersionId>null</VersionId></Version>`
          : `<Contents>${row}</Contents>`
      })
    xml(response, `<Result><IsTruncated>false</IsTruncated>${rows.join('')}</Result>`)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}

function xml(response: ServerResponse, text: string): void {
  response.writeHead(200, { 'content-type': 'application/xml' }).end(text)
}

function fail(response: ServerResponse, status: number, code: string): void {
  response
    .writeHead(status, { 'content-type': 'application/xml' })
    .end(`<Error><Code>${code}</Code><Message>no</Message></Error>`)
}
