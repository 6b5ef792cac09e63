/** Collations that the application made. */
import { quoteLiteral, quoteTable } from '../dialect/quote.ts'
import { collect, RANK } from '../../../formats/rank.ts'
import {
  among,
  type Attributes,
  attributes,
  type CatalogKind,
  notOfExtension,
  OF_APPLICATION,
  sayAttributes,
} from './kind.ts'

interface CollationRow extends Attributes {
  readonly schema: string
  readonly name: string
  readonly provider: string
  readonly collate: string | null
  readonly ctype: string | null
  readonly locale: string | null
  readonly rules: string | null
  readonly deterministic: boolean
}

export const collations: CatalogKind = {
  name: 'collation',
  title: 'Collations',
  covers: 'with owner and comment',
  class: 'pg_collation',
  order: 'last',
  async read(catalog, only) {
    const locale =
      catalog.version >= 170000 ? 'c.colllocale' : catalog.version >= 150000 ? 'c.colliculocale' : 'NULL'
    const rules = catalog.version >= 160000 ? 'c.collicurules' : 'NULL'
    const found = await catalog.rows<CollationRow>(`
      SELECT ${attributes({ class: 'pg_collation', row: 'c', owner: 'c.collowner' })}, n.nspname AS schema, c.collname AS name, c.collprovider AS provider, c.collcollate AS collate, c.collctype AS ctype, ${locale} AS locale, ${rules} AS rules, c.collisdeterministic AS deterministic
        FROM pg_collation c JOIN pg_namespace n ON n.oid = c.collnamespace WHERE ${OF_APPLICATION} AND ${notOfExtension('pg_collation', 'c.oid')} AND ${among('c.oid', only)} ORDER BY c.oid`)
    return found.map((c) => {
      const provider = { i: 'icu', b: 'builtin' }[c.provider] ?? 'libc'
      const options = [
        `PROVIDER = ${provider}`,
        provider === 'libc'
          ? `LC_COLLATE = ${quoteLiteral(c.collate ?? '')}, LC_CTYPE = ${quoteLiteral(c.ctype ?? '')}`
          : `LOCALE = ${quoteLiteral(c.locale ?? c.collate ?? '')}`,
        `DETERMINISTIC = ${String(c.deterministic)}`,
        ...(c.rules === null ? [] : [`RULES = ${quoteLiteral(c.rules)}`]),
      ]
      return {
        oid: c.oid,
        statements: collect({ kind: 'collation', schema: c.schema, name: c.name }, (say) => {
          say(RANK.extension, `CREATE COLLATION ${quoteTable(c)} (${options.join(', ')})`)
          sayAttributes(say, c, { address: `COLLATION ${quoteTable(c)}` })
        }),
      }
    })
  },
}
