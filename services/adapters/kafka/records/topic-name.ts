/**
 * Topic names: `<prefix>.<schema>.<table>`, and `<prefix>.transactions`. Kafka allows [A-Za-z0-9._-] and 249 characters;
 * every other character becomes `_x<hex>_`, and a `_x` that a name has by itself is escaped too, so that no two tables
 * share a topic. To Kafka `a.b_c` and `a_b.c` are the same all the same: the table that comes second gets a digest behind its name.
 */
import { createHash } from 'node:crypto'

const MOST = 249

export function topicOf(prefix: string, table: { readonly schema: string; readonly name: string }): string {
  const name = `${prefix}.${escape(table.schema)}.${escape(table.name)}`
  return name.length <= MOST ? name : withDigest(name)
}

/** For a table whose name Kafka takes for that of another topic. */
export function withDigest(name: string): string {
  const digest = createHash('sha256').update(name).digest('hex').slice(0, 16)
  return `${name.slice(0, MOST - 17)}-${digest}`
}

/** To Kafka topics are the same whose names differ in dots and underscores alone: its metrics write one for the other. */
export function metricName(topic: string): string {
  return topic.replaceAll('.', '_')
}

/** Its name has no schema in it: no table's topic can be the same. */
export function transactionsTopic(prefix: string): string {
  return `${prefix}.transactions`
}

/** Orders and answers of compactors. */
export function boardTopic(prefix: string): string {
  return `${prefix}.board`
}

/** Never written: its partitions are what the group of compactors shares out. */
export function lanesTopic(prefix: string): string {
  return `${prefix}.lanes`
}

function escape(name: string): string {
  return [...name.replaceAll('_x', '_x5f_x')]
    .map((c) => (/[A-Za-z0-9_-]/.test(c) ? c : `_x${c.codePointAt(0)!.toString(16)}_`))
    .join('')
}
