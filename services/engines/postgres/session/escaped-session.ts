/**
 * What `pg` does in UTF-8 alone, byte for byte: a database in SQL_ASCII takes and gives any bytes. Rows and messages are read,
 * and statements and parameters written, with what is no UTF-8 escaped (core/escaped-bytes.ts).
 */
import type pg from 'pg'
import { Parser } from 'pg-protocol/dist/parser.js'
import { bytesOfText, hasEscapedBytes, textOfBytes } from '../../../core/escaped-bytes.ts'

interface Message {
  readonly name: string
  fields?: unknown
  message?: unknown
}

/** The parts of `pg`'s connection that it keeps to itself. */
interface Inner {
  stream: {
    readonly writable: boolean
    on(event: 'data', listener: (bytes: Buffer) => void): void
    write(bytes: Buffer): boolean
  }
  attachListeners(stream: Inner['stream']): void
  emit(event: string, message: Message): void
  query(text: string): void
  bind(config: { valueMapper?: (value: unknown, index: number) => unknown }): void
}

/** To be called before the client connects. Returns what turns it on, once the encoding is known. */
export function escapable(client: pg.Client): () => void {
  const { connection } = client as unknown as { readonly connection: Inner }
  const parser = new Parser()
  const reader = (parser as unknown as { reader: { encoding: string } }).reader
  let isOn = false
  connection.attachListeners = (stream) => {
    stream.on('data', (bytes) =>
      parser.parse(bytes, (parsed) => {
        const message = parsed as unknown as Message
        if (isOn) unescape(message)
        connection.emit(message.name === 'error' ? 'errorMessage' : message.name, message)
      }),
    )
  }
  return () => {
    isOn = true
    reader.encoding = 'latin1'
    writeEscaped(connection)
  }
}

/** From latin1, which has every byte. */
function unescape(message: Message): void {
  const text = (latin1: string): string => textOfBytes(Buffer.from(latin1, 'latin1'))
  if (message.name === 'dataRow' && Array.isArray(message.fields))
    message.fields = message.fields.map((field: unknown) => (typeof field === 'string' ? text(field) : field))
  if (typeof message.message === 'string') message.message = text(message.message)
}

function writeEscaped(connection: Inner): void {
  const query = connection.query.bind(connection)
  connection.query = (text) => {
    if (!hasEscapedBytes(text)) {
      query(text)
      return
    }
    const body = bytesOfText(`${text}\0`)
    const head = Buffer.alloc(5)
    head[0] = 0x51
    head.writeInt32BE(body.length + 4, 1)
    if (connection.stream.writable) connection.stream.write(Buffer.concat([head, body]))
  }
  const bind = connection.bind.bind(connection)
  connection.bind = (config) => {
    const { valueMapper } = config
    bind({
      ...config,
      // A buffer goes in binary: of text and names the bytes themselves.
      valueMapper: (value, index) => {
        const mapped = valueMapper === undefined ? value : valueMapper(value, index)
        return typeof mapped === 'string' && hasEscapedBytes(mapped) ? bytesOfText(mapped) : mapped
      },
    })
  }
}
