/** The table of every kind of object that a backup covers, for people: made from the kinds themselves. */
import { KINDS } from './kinds.ts'
import { PARTS } from './uncovered.ts'

/** docs/objects.md */
export function objectsTable(): string {
  const kinds = KINDS.map((kind) => `| ${kind.title} | \`${kind.class}\` | ${kind.covers} |`)
  const parts = Object.entries(PARTS).map(([name, part]) => `| ${part.of} | \`${name}\` |`)
  return `# What comes back

Every kind of object of a database, and what of it a restore makes again. This page is made from the code that reads the
catalog (\`services/engines/postgres/catalog/kinds.ts\`); \`test/integration/every-kind.test.ts\` makes one object of each,
restores it, and compares the two databases as PostgreSQL's own \`pg_dump\` prints them.

| kind | catalog | what comes back |
|---|---|---|
${kinds.join('\n')}

These come with the object that they belong to:

| part | catalog |
|---|---|
${parts.join('\n')}

Comments come back on all of them. Whatever lies in another catalog, or in one of these without a statement that makes it
(large objects, subscriptions, invalid indexes, security labels), is counted by catalog in the notes of \`tidemark doctor\` and
of every restore: a kind of object that this list does not have is said, not passed over. Relations in tablespaces are made in
the target's own.

Role attributes (SUPERUSER, BYPASSRLS and the like), settings and memberships belong to the cluster, not to the database: a
restore makes missing roles without login and gives them nothing, unless \`--with-role-attributes\` asks for it. Passwords are
never read.
`
}
