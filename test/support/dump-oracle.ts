/** Compares two databases as pg_dump prints them, entry by entry: the server's own tool is the judge of a schema. */
import { execFileSync } from 'node:child_process'
import { dirname, join } from 'node:path'
import { installation } from './postgres-tools.ts'

/** pg_dump, or why it is not to be had here (no python3, no package). */
export function findPgDump(): { readonly path: string } | { readonly missing: string } {
  try {
    return { path: join(installation(), 'bin', 'pg_dump') }
  } catch (error) {
    return {
      missing: `pg_dump cannot be had here: ${error instanceof Error ? error.message : String(error)}`,
    }
  }
}

/** "TYPE schema.name" to the SQL that pg_dump prints for it, without Tidemark's own objects. */
export function dumpEntries(pgDump: string, url: string): Map<string, string> {
  const database = decodeURIComponent(new URL(url).pathname.slice(1))
  const text = execFileSync(
    pgDump,
    ['--schema-only', '--create', '--exclude-schema=tidemark*', '--no-sync', `--dbname=${url}`],
    { encoding: 'utf8', maxBuffer: 256 * 1024 * 1024, env: { ...process.env, LD_LIBRARY_PATH: '' } },
  ).replaceAll(database, 'the_database')
  const entries = new Map<string, string>()
  const identities = new Map(
    [...text.matchAll(IDENTITY)].map(([, table = '', how = '']) => [table, how] as const),
  )
  for (const [table, before] of givenIdentities(pgDump, url))
    if (before === 'DEFAULT') identities.delete(table)
    else identities.set(table, before)
  for (const [table, how] of identities) entries.set(`REPLICA IDENTITY ${table}`, how)
  const head = /^-- Name: (.*); Type: (.*); Schema: (.*); Owner: (.*)$/gm
  const found = [...text.matchAll(head)]
  for (const [i, match] of found.entries()) {
    const [, name = '', type = '', schema = '', owner = ''] = match
    if (
      /^(EVENT TRIGGER |PUBLICATION )?(tidemark_|s_the_database)/.test(name) ||
      schema.startsWith('tidemark')
    )
      continue
    const sql = text
      .slice(match.index + match[0].length, found[i + 1]?.index)
      .split('\n')
      .filter((line) => !/^(--|SET default_|\\|$)/.test(line) && line.match(IDENTITY) === null)
      .join('\n')
    let key = `${type} ${schema}.${name} (${owner})`
    while (entries.has(key)) key += ' again'
    entries.set(key, sql)
  }
  return entries
}

const IDENTITY = /^ALTER TABLE ONLY (.+) REPLICA IDENTITY (.+);$/gm

/** Tables whose replica identity is Tidemark's, with what the application had: that is what a restore gives back. */
function givenIdentities(pgDump: string, url: string): [string, string][] {
  const ask = (sql: string): string =>
    execFileSync(join(dirname(pgDump), 'psql'), ['-XqAt', '-F', '\t', '-d', url, '-c', sql], {
      encoding: 'utf8',
      env: { ...process.env, LD_LIBRARY_PATH: '' },
    })
  if (ask(`SELECT to_regclass('tidemark.identity') IS NOT NULL`).trim() !== 't') return []
  const found = ask(
    `SELECT format('%I.%I', n.nspname, c.relname), CASE g.before WHEN 'f' THEN 'FULL' WHEN 'n' THEN 'NOTHING' WHEN 'i' THEN COALESCE('USING INDEX ' || quote_ident(g.before_index), 'DEFAULT') ELSE 'DEFAULT' END
       FROM tidemark.identity g JOIN pg_class c ON c.oid::bigint = g.oid AND c.relreplident::text = g.given JOIN pg_namespace n ON n.oid = c.relnamespace`,
  )
  return found
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => line.split('\t') as [string, string])
}

/** One line for each entry that is missing, added or different. */
export function dumpDifferences(pgDump: string, sourceUrl: string, restoredUrl: string): string[] {
  const source = dumpEntries(pgDump, sourceUrl)
  const restored = dumpEntries(pgDump, restoredUrl)
  const out: string[] = []
  for (const [key, sql] of source) {
    const got = restored.get(key)
    if (got === undefined) out.push(`missing: ${key}\n${sql}`)
    else if (got !== sql) out.push(`differs: ${key}\n${sql}\n--- restored\n${got}`)
  }
  for (const [key, sql] of restored) if (!source.has(key)) out.push(`added: ${key}\n${sql}`)
  return out
}
