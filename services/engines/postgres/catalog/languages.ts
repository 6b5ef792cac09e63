/** Languages and transforms, and access methods: what stands on a handler function. */
import { quoteName } from '../dialect/quote.ts'
import { collect, RANK } from '../../../formats/rank.ts'
import {
  among,
  type Attributes,
  attributes,
  type CatalogKind,
  notOfExtension,
  sayAttributes,
} from './kind.ts'

interface LanguageRow extends Attributes {
  readonly name: string
  readonly trusted: boolean
  readonly options: readonly string[]
}

export const languages: CatalogKind = {
  name: 'language',
  title: 'Languages',
  covers: 'with owner, comment, rights',
  class: 'pg_language',
  order: 'by dependency',
  async read(catalog, only) {
    const found = await catalog.rows<LanguageRow>(`
      SELECT ${attributes({ class: 'pg_language', row: 'l', owner: 'l.lanowner', acl: 'l.lanacl', kind: 'l' })}, l.lanname AS name, l.lanpltrusted AS trusted,
             array_remove(ARRAY['HANDLER ' || l.lanplcallfoid::regproc::text, CASE WHEN l.laninline <> 0 THEN 'INLINE ' || l.laninline::regproc::text END, CASE WHEN l.lanvalidator <> 0 THEN 'VALIDATOR ' || l.lanvalidator::regproc::text END], NULL) AS options
        FROM pg_language l WHERE l.lanispl AND l.lanplcallfoid <> 0 AND ${notOfExtension('pg_language', 'l.oid')} AND ${among('l.oid', only)} ORDER BY l.oid`)
    return found.map((l) => ({
      oid: l.oid,
      statements: collect({ kind: 'language', name: l.name }, (say) => {
        say(
          RANK.create,
          `CREATE ${l.trusted ? 'TRUSTED ' : ''}LANGUAGE ${quoteName(l.name)} ${l.options.join(' ')}`,
        )
        sayAttributes(say, l, { address: `LANGUAGE ${quoteName(l.name)}` })
      }),
    }))
  },
}

interface TransformRow extends Attributes {
  readonly type: string
  readonly language: string
  readonly options: readonly string[]
}

export const transforms: CatalogKind = {
  name: 'transform',
  title: 'Transforms',
  covers: 'with comment',
  class: 'pg_transform',
  order: 'by dependency',
  async read(catalog, only) {
    const found = await catalog.rows<TransformRow>(`
      SELECT ${attributes({ class: 'pg_transform', row: 't' })}, format_type(t.trftype, NULL) AS type, l.lanname AS language,
             array_remove(ARRAY[CASE WHEN t.trffromsql <> 0 THEN 'FROM SQL WITH FUNCTION ' || t.trffromsql::regprocedure::text END, CASE WHEN t.trftosql <> 0 THEN 'TO SQL WITH FUNCTION ' || t.trftosql::regprocedure::text END], NULL) AS options
        FROM pg_transform t JOIN pg_language l ON l.oid = t.trflang WHERE ${notOfExtension('pg_transform', 't.oid')} AND ${among('t.oid', only)} ORDER BY t.oid`)
    return found.map((t) => {
      const name = `TRANSFORM FOR ${t.type} LANGUAGE ${quoteName(t.language)}`
      return {
        oid: t.oid,
        statements: collect({ kind: 'transform', name: `${t.type} ${t.language}` }, (say) => {
          say(RANK.create, `CREATE ${name} (${t.options.join(', ')})`)
          sayAttributes(say, t, { address: name, owned: false })
        }),
      }
    })
  },
}

interface MethodRow extends Attributes {
  readonly name: string
  readonly type: string
  readonly handler: string
}

export const accessMethods: CatalogKind = {
  name: 'accessMethod',
  title: 'Access methods',
  covers: 'with comment',
  class: 'pg_am',
  order: 'by dependency',
  async read(catalog, only) {
    const found = await catalog.rows<MethodRow>(`
      SELECT ${attributes({ class: 'pg_am', row: 'a' })}, a.amname AS name, CASE a.amtype WHEN 't' THEN 'TABLE' ELSE 'INDEX' END AS type, a.amhandler::text AS handler
        FROM pg_am a WHERE a.oid >= 16384 AND ${notOfExtension('pg_am', 'a.oid')} AND ${among('a.oid', only)} ORDER BY a.oid`)
    return found.map((a) => {
      const name = `ACCESS METHOD ${quoteName(a.name)}`
      return {
        oid: a.oid,
        statements: collect({ kind: 'accessMethod', name: a.name }, (say) => {
          say(RANK.create, `CREATE ${name} TYPE ${a.type} HANDLER ${a.handler}`)
          sayAttributes(say, a, { address: name, owned: false })
        }),
      }
    })
  },
}
