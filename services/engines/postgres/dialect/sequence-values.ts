/**
 * The SQL that sets the sequences of a target: as they were sampled, further by a margin where no sample is at or after
 * the point, and never below what rows use. Every step stays on the sequence's own lattice (start, start + increment, …),
 * which others may rely on, and within its minimum and maximum.
 */
import { quoteLiteral, quoteTable } from './quote.ts'
import type { SchemaStatement } from '../../../core/transaction.ts'
import type { SequenceAt, SequencesAt } from '../../../core/ports/dialect.ts'

/** Statements before it make the sequences, those behind it need what they give. */
const RANK = { margin: 74, values: 75, rows: 90 } as const
/** Sequences of one statement. */
const TOGETHER = 200

/** `from`: what it gave last; `advance`: the greatest between two samples. Near its end it goes half of what is left. */
const RAISED = (from: string, advance: string): string =>
  `${from} + pg_catalog.sign(s.seqincrement) * LEAST(
     pg_catalog.ceil(GREATEST(2 * ${advance}, 32 * s.seqcache::numeric * pg_catalog.abs(s.seqincrement::numeric)) / pg_catalog.abs(s.seqincrement::numeric)),
     pg_catalog.trunc(GREATEST(CASE WHEN s.seqincrement > 0 THEN s.seqmax - ${from} ELSE ${from} - s.seqmin END, 0) / 2 / pg_catalog.abs(s.seqincrement::numeric))
   ) * pg_catalog.abs(s.seqincrement::numeric)`

/** A sequence that no sample names: what it gave is not known, so it goes on behind its start. */
const UNTOLD = `SELECT pg_catalog.setval(s.seqrelid::pg_catalog.regclass, (${RAISED('s.seqstart::numeric', '0')})::bigint)
  FROM pg_catalog.pg_sequence s JOIN pg_catalog.pg_class c ON c.oid = s.seqrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'tidemark_restore') AND c.relpersistence <> 't'`

/**
 * No sequence gives a value again that a row has: where the whole default of an integer column is its next value, or the
 * column is an identity. Ids that are packed from more than that say nothing about their sequence.
 */
const ABOVE_ROWS = `DO $tidemark$
DECLARE
  one record; one_column record; held record; used numeric; extreme numeric; target numeric;
BEGIN
  PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
  CREATE TEMPORARY TABLE tidemark_uses ON COMMIT DROP AS
    SELECT s.seqrelid AS sequence, t.oid AS relation, a.attname AS name, t.relispartition AS is_part
      FROM pg_catalog.pg_sequence s JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = s.seqrelid AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.deptype = 'i'
      JOIN pg_catalog.pg_class t ON t.oid = d.refobjid JOIN pg_catalog.pg_attribute a ON a.attrelid = t.oid AND a.attnum = d.refobjsubid
     WHERE NOT s.seqcycle AND a.attidentity <> '' AND a.atttypid IN (20, 21, 23)
    UNION
    SELECT s.seqrelid, t.oid, a.attname, t.relispartition
      FROM pg_catalog.pg_sequence s JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_attrdef'::regclass AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = s.seqrelid
      JOIN pg_catalog.pg_attrdef f ON f.oid = d.objid JOIN pg_catalog.pg_class t ON t.oid = f.adrelid JOIN pg_catalog.pg_attribute a ON a.attrelid = t.oid AND a.attnum = f.adnum
     WHERE NOT s.seqcycle AND a.attgenerated = '' AND a.atttypid IN (20, 21, 23) AND t.relkind IN ('r', 'p')
       AND regexp_replace(pg_get_expr(f.adbin, f.adrelid), '^[(](.*)[)]::(integer|smallint|bigint)$', '\\1') = format('nextval(%L::regclass)', s.seqrelid::regclass::text);
  -- What is asked of the whole partitioned table is not asked of each partition.
  DELETE FROM pg_temp.tidemark_uses u WHERE u.is_part AND EXISTS (
    SELECT FROM pg_temp.tidemark_uses r WHERE r.sequence = u.sequence AND r.name = u.name AND r.relation = pg_partition_root(u.relation));
  FOR one IN SELECT s.seqrelid, s.seqincrement::numeric AS step, s.seqmin, s.seqmax, n.nspname, c.relname
      FROM pg_catalog.pg_sequence s JOIN pg_catalog.pg_class c ON c.oid = s.seqrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE EXISTS (SELECT FROM pg_temp.tidemark_uses u WHERE u.sequence = s.seqrelid) LOOP
    used := NULL;
    FOR one_column IN SELECT u.name, n.nspname, t.relname FROM pg_temp.tidemark_uses u JOIN pg_catalog.pg_class t ON t.oid = u.relation JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace WHERE u.sequence = one.seqrelid LOOP
      EXECUTE format('SELECT pg_catalog.%s(%I) FROM %I.%I', CASE WHEN one.step > 0 THEN 'max' ELSE 'min' END, one_column.name, one_column.nspname, one_column.relname) INTO extreme;
      used := CASE WHEN one.step > 0 THEN GREATEST(used, extreme) ELSE LEAST(used, extreme) END;
    END LOOP;
    EXECUTE format('SELECT last_value::numeric AS value, is_called AS called FROM %I.%I', one.nspname, one.relname) INTO held;
    extreme := CASE WHEN held.called THEN held.value ELSE held.value - one.step END;
    CONTINUE WHEN used IS NULL OR (used - extreme) * sign(one.step) <= 0;
    target := extreme + ceil((used - extreme) / one.step) * one.step;
    -- A row beyond the end was not made by this sequence, or the sequence has nothing left to give.
    IF target BETWEEN one.seqmin AND one.seqmax THEN
      PERFORM setval(one.seqrelid::regclass, target::bigint);
    ELSIF used BETWEEN one.seqmin AND one.seqmax THEN
      PERFORM setval(one.seqrelid::regclass, CASE WHEN one.step > 0 THEN one.seqmax ELSE one.seqmin END);
    END IF;
  END LOOP;
END $tidemark$`

export function sequenceStatements({ sequences, restUncalled }: SequencesAt): SchemaStatement[] {
  const made: SchemaStatement[] = []
  const add = (rank: number, what: string, sql: string): void =>
    void made.push({ rank, phase: 'after', objects: [{ kind: 'sequence', name: what }], sql })
  if (!restUncalled) add(RANK.margin, 'sequences without a sample', UNTOLD)
  for (let at = 0; at < sequences.length; at += TOGETHER)
    add(RANK.values, 'values of sequences', setValues(sequences.slice(at, at + TOGETHER)))
  add(RANK.rows, 'sequences of columns', ABOVE_ROWS)
  return made
}

/** A sequence that the target does not have is passed over. */
function setValues(sequences: readonly SequenceAt[]): string {
  const rows = sequences.map(
    (s) =>
      `(${quoteLiteral(s.schema)}, ${quoteLiteral(s.name)}, ${s.lastValue}::numeric, ${s.later ?? s.lastValue}::numeric, ${s.isCalled}, ${s.isBehind}, ${s.advance ?? '0'}::numeric)`,
  )
  return `SELECT pg_catalog.setval(s.seqrelid::pg_catalog.regclass, (CASE WHEN v.behind THEN ${RAISED('w.value', 'v.advance')} ELSE w.value END)::bigint, v.called OR v.behind)
  FROM (VALUES ${rows.join(', ')}) AS v(schema, name, value, later, called, behind, advance)
  JOIN pg_catalog.pg_namespace n ON n.nspname = v.schema JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = v.name JOIN pg_catalog.pg_sequence s ON s.seqrelid = c.oid
  CROSS JOIN LATERAL (SELECT LEAST(GREATEST(CASE WHEN s.seqincrement > 0 THEN GREATEST(v.value, v.later) ELSE LEAST(v.value, v.later) END, s.seqmin), s.seqmax) AS value) w`
}

/** For the report: which sequences were set further than they were seen, and by how much. @param schema what makes them */
export function sequenceNotes(at: SequencesAt, schema: readonly SchemaStatement[]): string[] {
  return [...notesOfBehind(at), ...notesOfUnseen(at, schema)]
}

/** Made and gone again between two samples, or not ours to read: how far they had come, nobody knows. */
function notesOfUnseen(
  { sequences, restUncalled }: SequencesAt,
  schema: readonly SchemaStatement[],
): string[] {
  if (restUncalled) return []
  const seen = new Set(sequences.map(quoteTable))
  const made = schema.flatMap(({ sql }) =>
    sql.startsWith('CREATE ')
      ? [...sql.matchAll(/\bSEQUENCE (?:NAME )?("(?:[^"]|"")+"\."(?:[^"]|"")+")/g)].map((match) => match[1]!)
      : [],
  )
  const unseen = [...new Set(made)].filter((name) => !seen.has(name))
  if (unseen.length === 0) return []
  return [
    `no sample tells what ${unseen.length} sequences gave before this point: each goes on 32 times its cache and increment behind its start, or behind the rows that it numbered (${unseen.slice(0, 20).join(', ')}${unseen.length > 20 ? ', …' : ''})`,
  ]
}

function notesOfBehind({ sequences }: SequencesAt): string[] {
  const behind = sequences.filter((sequence) => sequence.isBehind)
  if (behind.length === 0) return []
  const moving = behind.filter((sequence) => BigInt(sequence.advance ?? 0) > 0n)
  const named = moving
    .slice(0, 20)
    .map(({ schema, name, advance }) => `${schema}.${name} by ${2n * BigInt(advance ?? 0)}`)
  return [
    `no sample at or after this point tells the values of ${behind.length} sequences: each goes on behind its last one, by twice the greatest advance between two samples of the last day and at least 32 times its cache and increment${named.length === 0 ? '' : ` (${named.join(', ')}${moving.length > named.length ? ', …' : ''})`}; near its maximum by half of what is left`,
  ]
}
