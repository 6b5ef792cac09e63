/** How many rows break a foreign key, for people: their number and that of their keys, never a value. */
import { quoteLiteral, quoteTable } from '../dialect/quote.ts'
import type { WireSession } from '../session/wire-session.ts'

/** Gives the question only where the key compares by operators of PostgreSQL itself: others are the source's code. */
const QUESTION = (table: string, constraint: string): string => `
  SELECT format('SELECT count(*), count(DISTINCT ROW(%s)) FROM %s c WHERE %s AND NOT EXISTS (SELECT FROM %s p WHERE %s)',
      string_agg(format('c.%I', f.attname), ', ' ORDER BY u.place), CASE r.relkind WHEN 'p' THEN '' ELSE 'ONLY ' END || r.oid::regclass,
      string_agg(format('c.%I IS NOT NULL', f.attname), ' AND ' ORDER BY u.place), k.confrelid::regclass,
      string_agg(format('p.%I OPERATOR(pg_catalog.%s) c.%I', t.attname, o.oprname, f.attname), ' AND ' ORDER BY u.place)),
    k.confrelid::regclass::text
    FROM pg_constraint k JOIN pg_class r ON r.oid = k.conrelid
    CROSS JOIN LATERAL unnest(k.conkey, k.confkey, k.conpfeqop) WITH ORDINALITY AS u(mine, theirs, operator, place)
    JOIN pg_attribute f ON f.attrelid = k.conrelid AND f.attnum = u.mine JOIN pg_attribute t ON t.attrelid = k.confrelid AND t.attnum = u.theirs
    JOIN pg_operator o ON o.oid = u.operator
   WHERE k.contype = 'f' AND k.conrelid = to_regclass(${quoteLiteral(table)}) AND k.conname = ${quoteLiteral(constraint)}
   GROUP BY r.oid, r.relkind, k.confrelid HAVING bool_and(o.oid < 16384 AND f.atttypid < 16384 AND t.atttypid < 16384)`

/** @returns e.g. "3 rows with 2 keys that public.parent does not have"; undefined where it cannot be told */
export async function brokenKeyText(
  session: WireSession,
  table: { readonly schema: string; readonly name: string },
  constraint: string,
): Promise<string | undefined> {
  const [question] = await session.query(QUESTION(quoteTable(table), constraint))
  if (question?.[0] === undefined || question[0] === null) return undefined
  const [counts] = await session.query(question[0])
  return `${counts?.[0] ?? ''} rows with ${counts?.[1] ?? ''} keys that ${question[1] ?? ''} does not have`
}
