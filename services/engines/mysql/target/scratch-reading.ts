/** Reads what was made in a scratch database by the reader that reads a source. */
import { type ReadSchema, readSchema } from '../catalog/read-schema.ts'
import { connect, databaseOf, type OpenSession } from '../session/connect.ts'
import { versionNumber } from '../session/identity.ts'

export class ScratchReading {
  readonly #session: OpenSession
  readonly #database: string

  private constructor(session: OpenSession, database: string) {
    this.#session = session
    this.#database = database
  }

  static async open(url: string): Promise<ScratchReading> {
    return new ScratchReading(await connect(url), databaseOf(url))
  }

  get serverVersion(): number {
    return versionNumber(this.#session.server.version)
  }

  read(): Promise<ReadSchema> {
    return readSchema(this.#session, this.#database)
  }

  async close(): Promise<void> {
    await this.#session.connection.end()
  }
}
