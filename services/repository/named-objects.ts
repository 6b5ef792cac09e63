/** The objects that a ledger entry names: what a copy of the backup needs before it has the entry, and what verification looks at. */
import type { StoredObject } from '../formats/entry-fields.ts'
import type { AnyEntry } from './entry-reader.ts'

export interface NamedObject {
  readonly object: StoredObject
  /** What it covers, for people. */
  readonly range: string
  /** The last position that it is for; null where it is for none. */
  readonly until: string | null
  /** What it was sealed with; undefined for what lies open (keys, which are sealed for their recipients, and indexes of the ledger). */
  readonly sealed:
    | { readonly key: string; readonly context: Readonly<Record<string, string>> & { readonly kind: string } }
    | undefined
}

export function* namedObjects({ body }: AnyEntry): Generator<NamedObject> {
  if (body === undefined) return
  if (body.kind === 'segments') {
    const range = `${body.from}-${body.to}`
    const until = body.to
    const common = { generation: String(body.generation), lane: String(body.lane) }
    for (const object of body.objects)
      yield { range, until, object, sealed: { key: object.key, context: { kind: 'segment', ...common } } }
    yield {
      range,
      until,
      object: body.index,
      sealed: { key: body.index.key, context: { kind: 'index', ...common } },
    }
  } else if (body.kind === 'table') {
    const range = `table ${body.schema}.${body.name} at ${body.position}`
    const until = body.position
    const common = { generation: String(body.generation), table: String(body.oid) }
    for (const object of body.parts)
      yield { range, until, object, sealed: { key: object.key, context: { kind: 'base', ...common } } }
    yield {
      range,
      until,
      object: body.version,
      sealed: { key: body.version.key, context: { kind: 'table', ...common } },
    }
  } else if (body.kind === 'sequences' || body.kind === 'schema' || body.kind === 'schema-change') {
    yield {
      range: `${body.kind} at ${body.at}`,
      until: body.at,
      object: body.object,
      sealed: { key: body.object.key, context: { kind: body.kind, generation: String(body.generation) } },
    }
  } else if (body.kind === 'retire') {
    const { ddl, generation } = body.floor
    if (ddl !== null)
      yield {
        range: `schema changes before ${body.floor.before}`,
        until: body.floor.before,
        object: ddl,
        sealed: { key: ddl.key, context: { kind: 'ddl', generation: String(generation) } },
      }
  } else if (body.kind === 'key') {
    yield { range: `epoch key ${body.key}`, until: null, object: body.object, sealed: undefined }
  } else if (body.kind === 'checkpoint') {
    yield { range: "the ledger's own index", until: null, object: body.root, sealed: undefined }
    for (const page of body.pages)
      yield { range: "the ledger's own index", until: null, object: page.object, sealed: undefined }
  }
}
