/** Changes of the schema that no event trigger sees, as with a superuser's `SET event_triggers = off`, on every version. */
import type pg from 'pg'

const TRIGGERS = ['tidemark_ddl', 'tidemark_drop', 'tidemark_before_drop']

/** In one transaction. */
export async function unseen(client: pg.Client, sql: readonly string[]): Promise<void> {
  const all = (how: string): string[] => TRIGGERS.map((name) => `ALTER EVENT TRIGGER ${name} ${how}`)
  await client.query(['BEGIN', ...all('DISABLE'), ...sql, ...all('ENABLE ALWAYS'), 'COMMIT'].join('; '))
}
