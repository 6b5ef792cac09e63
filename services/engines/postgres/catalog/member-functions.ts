/**
 * Functions of extensions that somebody declared IMMUTABLE afterwards (unaccent(text), for an index over it): the
 * extension makes them as it knows them, and the index, generated column or check that needs the declaration could not
 * be made. A function that was altered has a younger row than the one that says whose member it is:
 * of another transaction, or of a later command of the same one.
 */
import { quoteLiteral } from '../dialect/quote.ts'
import { collect, RANK } from '../../../formats/rank.ts'
import { among, type CatalogKind, OF_APPLICATION } from './kind.ts'

interface MemberRow {
  readonly oid: number
  readonly schema: string
  readonly name: string
  readonly address: string
}

export const memberFunctions: CatalogKind = {
  name: 'memberFunction',
  title: 'Functions of extensions',
  covers: 'come with their extension; declared IMMUTABLE where somebody declared them so afterwards',
  class: 'pg_proc',
  order: 'first',
  async read(catalog, only) {
    const found = await catalog.rows<MemberRow>(`
      SELECT p.oid, n.nspname AS schema, p.proname AS name, format('%I.%I(%s)', n.nspname, p.proname, oidvectortypes(p.proargtypes)) AS address
        FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
        JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e' AND d.refclassid = 'pg_extension'::regclass
       WHERE ${OF_APPLICATION} AND p.prokind = 'f' AND p.provolatile = 'i' AND (p.xmin <> d.xmin OR p.cmin::text::bigint > d.cmin::text::bigint) AND ${among('p.oid', only)} ORDER BY p.oid`)
    return found.map(({ oid, address, ...f }) => ({
      oid,
      statements: collect({ kind: 'function', ...f }, (say) => {
        // Nothing is altered where the target's version is immutable by itself: that would take the owner's rights.
        const command = `ALTER FUNCTION ${address} IMMUTABLE`
        say(
          RANK.extension,
          `DO $tidemark$ BEGIN IF EXISTS (SELECT FROM pg_catalog.pg_proc WHERE oid = pg_catalog.to_regprocedure(${quoteLiteral(address)}) AND provolatile <> 'i') THEN EXECUTE ${quoteLiteral(command)}; END IF; END $tidemark$`,
        )
      }),
    }))
  },
}
