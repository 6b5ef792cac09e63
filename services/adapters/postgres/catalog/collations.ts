/** Collations that the application made. */
import { quoteLiteral, quoteTable } from '../../../core/relation.ts'
import { RANK } from '../../../formats/table-statements.ts'
import { among, type CatalogKind, notOfExtension, OF_APPLICATION, statement } from './kind.ts'

interface CollationRow {
  readonly oid: number
  readonly schema: string
  readonly name: string
  readonly provider: string
  readonly collate: string | null
  readonly ctype: string | null
  readonly locale: string | null
  readonly deterministic: boolean
}

export const collations: CatalogKind = {
  name: 'collation',
  class: 'pg_collation',
  order: 'last',
  async read(catalog, only) {
    const locale =
      catalog.version >= 170000 ? 'c.colllocale' : catalog.version >= 150000 ? 'c.colliculocale' : 'NULL'
    const found = await catalog.rows<CollationRow>(`
      SELECT c.oid, n.nspname AS schema, c.collname AS name, c.collprovider AS provider, c.collcollate AS collate, c.collctype AS ctype, ${locale} AS locale, c.collisdeterministic AS deterministic
        FROM pg_collation c JOIN pg_namespace n ON n.oid = c.collnamespace WHERE ${OF_APPLICATION} AND ${notOfExtension('pg_collation', 'c.oid')} AND ${among('c.oid', only)} ORDER BY c.oid`)
    return found.map((c) => {
      const provider = { i: 'icu', b: 'builtin' }[c.provider] ?? 'libc'
      const place =
        provider === 'libc'
          ? `LC_COLLATE = ${quoteLiteral(c.collate ?? '')}, LC_CTYPE = ${quoteLiteral(c.ctype ?? '')}`
          : `LOCALE = ${quoteLiteral(c.locale ?? c.collate ?? '')}`
      return {
        oid: c.oid,
        statements: [
          statement(
            RANK.extension,
            { kind: 'collation', schema: c.schema, name: c.name },
            `CREATE COLLATION ${quoteTable(c)} (PROVIDER = ${provider}, ${place}, DETERMINISTIC = ${String(c.deterministic)})`,
          ),
        ],
      }
    })
  },
}
