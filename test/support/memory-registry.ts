/** The few requests of a schema registry that the change log makes, in this process. It can lose what it has, as one without storage does. */
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'

export class MemoryRegistry implements AsyncDisposable {
  readonly #server = createServer((request, answer) => {
    void this.#answer(request).then(({ status, body }) => {
      answer.writeHead(status, { 'content-type': 'application/vnd.schemaregistry.v1+json' })
      answer.end(JSON.stringify(body))
    })
  })
  #subjects = new Map<string, number[]>()
  #schemas: string[] = []

  static async start(): Promise<MemoryRegistry> {
    const registry = new MemoryRegistry()
    await new Promise<void>((resolve) => registry.#server.listen(0, '127.0.0.1', resolve))
    return registry
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  /** Ids are given out again from the first one on. */
  lose(): void {
    this.#subjects = new Map()
    this.#schemas = []
  }

  async #answer(request: IncomingMessage): Promise<{ readonly status: number; readonly body: unknown }> {
    const path = (request.url ?? '').split('?')[0] ?? ''
    const [, kind, name, what, last] = path.split('/').map(decodeURIComponent)
    const absent = { status: 404, body: { error_code: 40401, message: 'not found' } }
    if (kind === 'config') return { status: 200, body: { compatibility: 'BACKWARD' } }
    if (kind === 'schemas') {
      const schema = this.#schemas[Number(what) - 1]
      return schema === undefined ? absent : { status: 200, body: { schema } }
    }
    if (kind !== 'subjects' || what !== 'versions' || last !== undefined) return absent
    const ids = this.#subjects.get(name ?? '')
    if (request.method === 'GET')
      return ids === undefined ? absent : { status: 200, body: ids.map((_, i) => i + 1) }
    let text = ''
    for await (const chunk of request) text += String(chunk)
    const { schema } = JSON.parse(text) as { readonly schema: string }
    let id = this.#schemas.indexOf(schema) + 1
    if (id === 0) id = this.#schemas.push(schema)
    if (ids?.includes(id) !== true) this.#subjects.set(name ?? '', [...(ids ?? []), id])
    return { status: 200, body: { id } }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}
