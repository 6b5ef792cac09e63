/** Schemas in a Confluent-compatible registry. A cache for others' sake: ids that we read are looked up once. */
// The package's index loads serializers and key services of four clouds as well: six times as many modules.
import { SchemaRegistryClient } from '@confluentinc/schemaregistry/dist/schemaregistry-client.js'
import { TidemarkError } from '../../../core/errors.ts'
import { isMistake } from '../../../core/mistake.ts'

export interface RegistrySettings {
  readonly url: string
  readonly user?: string | undefined
  readonly password?: string | undefined
}

const TIMEOUT_MS = 15_000
const LEVEL = 'BACKWARD'

export class Registry {
  readonly #client: SchemaRegistryClient
  /** Its address, without what nobody else should see. */
  readonly place: string
  readonly #registered = new Map<string, Promise<number>>()
  readonly #read = new Map<number, Promise<string | undefined>>()
  /** A table changed in a way that older readers' schemas do not cover; told once per version. */
  onIncompatible: ((subject: string) => void) | undefined

  /** @param maxRetries of one request, before it counts as failed */
  constructor(settings: RegistrySettings, maxRetries = 2) {
    const place = new URL(settings.url)
    // A password in it would be in every line that tells of it.
    place.username = ''
    place.password = ''
    this.place = place.toString()
    this.#client = new SchemaRegistryClient({
      baseURLs: [settings.url],
      createAxiosDefaults: { timeout: TIMEOUT_MS },
      ...(settings.user === undefined
        ? {}
        : {
            basicAuthCredentials: {
              credentialsSource: 'USER_INFO' as const,
              userInfo: `${settings.user}:${settings.password ?? ''}`,
            },
          }),
      maxRetries,
    })
  }

  /** The id of the schema under its subject. @throws TidemarkError LOG_UNREACHABLE, LOG_REFUSED */
  register(subject: string, schema: string): Promise<number> {
    const key = `${subject}\0${schema}`
    let id = this.#registered.get(key)
    if (id === undefined) {
      id = this.#register(subject, schema)
      id.catch(() => this.#registered.delete(key))
      this.#registered.set(key, id)
    }
    return id
  }

  /** The text of a schema by its id, whatever its subject; undefined where the registry has none. @throws TidemarkError LOG_UNREACHABLE, LOG_REFUSED */
  schema(id: number): Promise<string | undefined> {
    let text = this.#read.get(id)
    if (text === undefined) {
      text = this.#try(() =>
        this.#client.getBySubjectAndId('', id).then(({ schema }) => schema, ifMissing(undefined)),
      )
      const forget = (): boolean => this.#read.delete(id)
      text.then((found) => found === undefined && forget(), forget)
      this.#read.set(id, text)
    }
    return text
  }

  /** Asks what registering asks first, and changes nothing. @throws TidemarkError LOG_UNREACHABLE, LOG_REFUSED */
  async examine(subject: string): Promise<void> {
    await this.#try(() => this.#client.getAllVersions(subject).catch(ifMissing([] as number[])))
  }

  async #register(subject: string, schema: string): Promise<number> {
    return this.#try(async () => {
      const known = (await this.#client.getAllVersions(subject).catch(ifMissing([] as number[]))).length > 0
      if (!known) {
        const id = await this.#client.register(subject, { schemaType: 'AVRO', schema })
        await this.#setCompatibility(subject, LEVEL)
        return id
      }
      try {
        return await this.#client.register(subject, { schemaType: 'AVRO', schema })
      } catch (error) {
        if (statusOf(error) !== 409) throw error
      }
      // The database has changed already: its new version is registered all the same, and said so. Every record names its
      // own schema, so nothing that was written before becomes unreadable.
      this.onIncompatible?.(subject)
      await this.#setCompatibility(subject, 'NONE')
      try {
        return await this.#client.register(subject, { schemaType: 'AVRO', schema })
      } finally {
        await this.#setCompatibility(subject, LEVEL)
      }
    })
  }

  /** Asked again where another client made the subject's setting at the same moment: some registries answer 409 to one of two. */
  async #setCompatibility(subject: string, level: string): Promise<void> {
    const set = (): Promise<unknown> => this.#client.updateCompatibility(subject, level as never)
    try {
      await set()
    } catch (error) {
      if (statusOf(error) !== 409) throw error
      await set()
    }
  }

  async #try<T>(action: () => Promise<T>): Promise<T> {
    try {
      return await action()
    } catch (error) {
      const status = statusOf(error)
      if (status === 401 || status === 403)
        throw new TidemarkError('LOG_REFUSED', `the schema registry at ${this.place} refuses (${status})`, {
          cause: error,
        })
      // What the registry understood and will not take does not mend itself; busy and away do.
      if (status !== undefined && status >= 400 && status < 500 && status !== 408 && status !== 429)
        throw new TidemarkError('LOG_REFUSED', `the schema registry at ${this.place} answers ${status}`, {
          cause: error,
          next: "see the registry's log, then start up again",
        })
      if (isMistake(error)) throw error
      throw new TidemarkError(
        'LOG_UNREACHABLE',
        `the schema registry at ${this.place} ${status === undefined ? 'cannot be reached' : `answers ${status}`}`,
        { cause: error },
      )
    }
  }
}

function statusOf(error: unknown): number | undefined {
  if (typeof error !== 'object' || error === null) return undefined
  if ('status' in error && typeof error.status === 'number') return error.status
  if (
    'response' in error &&
    typeof error.response === 'object' &&
    error.response !== null &&
    'status' in error.response
  )
    return Number(error.response.status)
  return undefined
}

function ifMissing<T>(value: T): (error: unknown) => T {
  return (error) => {
    if (statusOf(error) === 404) return value
    throw error
  }
}
