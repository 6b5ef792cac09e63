/** Event triggers of the application: the very last, so that they see nothing of a restore. */
import { quoteLiteral, quoteName } from '../dialect/quote.ts'
import { collect, RANK } from '../../../formats/rank.ts'
import {
  among,
  type Attributes,
  attributes,
  type CatalogKind,
  notOfExtension,
  sayAttributes,
} from './kind.ts'

interface EventTriggerRow extends Attributes {
  readonly name: string
  readonly event: string
  readonly function: string
  readonly enabled: string
  readonly tags: readonly string[] | null
}

export const eventTriggers: CatalogKind = {
  name: 'eventTrigger',
  title: 'Event triggers',
  covers: 'the very last, as enabled as they were',
  class: 'pg_event_trigger',
  order: 'last',
  async read(catalog, only) {
    const found = await catalog.rows<EventTriggerRow>(`
      SELECT ${attributes({ class: 'pg_event_trigger', row: 'e', owner: 'e.evtowner' })}, e.evtname AS name, e.evtevent AS event, format('%I.%I', n.nspname, p.proname) AS function, e.evtenabled AS enabled, e.evttags AS tags
        FROM pg_event_trigger e JOIN pg_proc p ON p.oid = e.evtfoid JOIN pg_namespace n ON n.oid = p.pronamespace
       WHERE n.nspname <> 'tidemark' AND ${notOfExtension('pg_event_trigger', 'e.oid')} AND ${among('e.oid', only)} ORDER BY e.oid`)
    return found.map((e) => {
      const name = `EVENT TRIGGER ${quoteName(e.name)}`
      const when = e.tags === null ? '' : ` WHEN TAG IN (${e.tags.map(quoteLiteral).join(', ')})`
      const state = { D: 'DISABLE', R: 'ENABLE REPLICA', A: 'ENABLE ALWAYS' }[e.enabled]
      return {
        oid: e.oid,
        statements: collect({ kind: 'eventTrigger', name: e.name }, (say) => {
          const commands = [`CREATE ${name} ON ${e.event}${when} EXECUTE FUNCTION ${e.function}()`]
          sayAttributes((_, sql) => commands.push(sql), e, { address: name })
          if (state !== undefined) commands.push(`ALTER ${name} ${state}`)
          // As one: the commands behind the first would fire it.
          say(RANK.settings + 1, commands.join('; '))
        }),
      }
    })
  },
}
