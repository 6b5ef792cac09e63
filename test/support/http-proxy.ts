/** A proxy before an object store's server that knows HTTP: loses answers, answers itself, cuts bodies, waits. */
import { Agent, createServer, request } from 'node:https'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import { freePort } from '../../services/demo/embedded-postgres.ts'

/** `lose`: the server does what was asked, and its answer never arrives. `cut`: half of the body. */
export type Fate =
  | { readonly kind: 'pass' | 'lose' | 'cut' | 'silent' }
  | { readonly kind: 'answer'; readonly status: number; readonly code?: string }
  | { readonly kind: 'slow'; readonly ms: number }
  | { readonly kind: 'rewrite'; readonly body: (text: string) => string }

export class HttpProxy implements AsyncDisposable {
  readonly port: number
  readonly #server: Server
  readonly #agent: Agent
  #far = 0
  fate: (method: string, url: string) => Fate = () => ({ kind: 'pass' })
  /** How often each fate was met. */
  readonly met = new Map<string, number>()

  private constructor(port: number, certificate: { readonly cert: string; readonly key: string }) {
    this.port = port
    this.#agent = new Agent({ ca: certificate.cert, keepAlive: true })
    this.#server = createServer({ cert: certificate.cert, key: certificate.key }, (near, answer) =>
      this.#pass(near, answer),
    )
  }

  static async open(certificate: { readonly cert: string; readonly key: string }): Promise<HttpProxy> {
    const proxy = new HttpProxy(await freePort(), certificate)
    await new Promise<void>((resolve) => proxy.#server.listen(proxy.port, '127.0.0.1', resolve))
    return proxy
  }

  to(port: number): void {
    this.#far = port
  }

  #pass(near: IncomingMessage, answer: ServerResponse): void {
    const fate = this.fate(near.method ?? '', near.url ?? '')
    if (fate.kind !== 'pass') this.met.set(fate.kind, (this.met.get(fate.kind) ?? 0) + 1)
    if (fate.kind === 'silent') return
    if (fate.kind === 'answer') {
      near.resume()
      near.on('end', () =>
        answer
          .writeHead(fate.status, { 'content-type': 'application/xml' })
          .end(`<?xml version="1.0"?><Error><Code>${fate.code ?? 'SlowDown'}</Code></Error>`),
      )
      return
    }
    if (fate.kind === 'slow') {
      near.pause()
      setTimeout(() => this.#forward(near, answer, { kind: 'pass' }), fate.ms)
      return
    }
    this.#forward(near, answer, fate)
  }

  #forward(near: IncomingMessage, answer: ServerResponse, fate: Fate): void {
    const far = request(
      {
        host: '127.0.0.1',
        port: this.#far,
        method: near.method,
        path: near.url,
        headers: near.headers,
        agent: this.#agent,
      },
      (response) => {
        // Of an answer without a body there is no half.
        if (
          fate.kind === 'lose' ||
          (fate.kind === 'cut' && Number(response.headers['content-length'] ?? 0) === 0) ||
          (fate.kind === 'cut' && near.method === 'HEAD')
        ) {
          response.resume()
          near.socket.destroy()
          return
        }
        if (fate.kind === 'rewrite') {
          const parts: Buffer[] = []
          response
            .on('data', (part: Buffer) => parts.push(part))
            .on('end', () => {
              const { 'content-length': _, 'transfer-encoding': __, ...headers } = response.headers
              answer
                .writeHead(response.statusCode ?? 500, headers)
                .end(fate.body(Buffer.concat(parts).toString('utf8')))
            })
          return
        }
        answer.writeHead(response.statusCode ?? 500, response.headers)
        if (fate.kind === 'pass') {
          response.pipe(answer)
          return
        }
        const half = Number(response.headers['content-length'] ?? 0) >> 1
        let sent = 0
        response.on('data', (chunk: Buffer) => {
          if (sent < half) answer.write(chunk.subarray(0, Math.max(1, half - sent)))
          sent += chunk.length
          if (sent >= half) setImmediate(() => near.socket.destroy())
        })
      },
    )
    far.on('error', () => near.socket.destroy())
    near.pipe(far)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections()
    this.#agent.destroy()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}
