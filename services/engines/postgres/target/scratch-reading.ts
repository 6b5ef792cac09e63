/** Reads what was made in a scratch database by the reader that reads a source. */
import type pg from 'pg'
import { readWholeSchema } from '../catalog/schema-reader.ts'
import { FUNCTIONS, installedSql } from '../admin/install.ts'
import { connect, connectionError } from '../session/session.ts'
import { silenceEventTriggers } from './silence-event-triggers.ts'
import type { ReadSchema } from '../catalog/read-schema.ts'

/**
 * Opened before the schema is made: the reader's functions are made then, and the session is there, so that no event
 * trigger of the source runs for either.
 */
export class ScratchReading {
  readonly #client: pg.Client

  readonly serverVersion: number

  private constructor(client: pg.Client, serverVersion: number) {
    this.#client = client
    this.serverVersion = serverVersion
  }

  /** @param url an empty database */
  static async open(url: string): Promise<ScratchReading> {
    const client = await connect({ url, applicationName: 'tidemark_scratch', role: 'target' })
    try {
      await silenceEventTriggers(client)
      await client.query('BEGIN')
      for (const script of ['tables', ...FUNCTIONS]) await client.query(await installedSql(script))
      await client.query('COMMIT')
      const { rows } = await client.query<{ v: number }>(
        `SELECT current_setting('server_version_num')::int AS v`,
      )
      return new ScratchReading(client, rows[0]?.v ?? 0)
    } catch (error) {
      await client.end()
      throw connectionError(error, 'target')
    }
  }

  async read(): Promise<ReadSchema> {
    try {
      return await readWholeSchema(this.#client)
    } catch (error) {
      throw connectionError(error, 'target')
    }
  }

  async close(): Promise<void> {
    await this.#client.end()
  }
}
