/** Samples of sequences: they are not in the stream (hazard 32). */
import type pg from 'pg'
import type { SequenceSample } from '../../core/transaction.ts'

export async function sampleSequences(client: pg.Client): Promise<readonly SequenceSample[]> {
  const found = await client.query<{ schema: string; name: string; value: string }>(
    `SELECT schemaname AS schema, sequencename AS name, last_value::text AS value FROM pg_sequences WHERE last_value IS NOT NULL AND schemaname <> 'tidemark' ORDER BY 1, 2`,
  )
  return found.rows.map((row) => ({
    schema: row.schema,
    name: row.name,
    lastValue: row.value,
    isCalled: true,
  }))
}
