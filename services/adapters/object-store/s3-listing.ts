/**
 * Listings of a bucket, page by page (Amazon S3 API reference, "ListObjectsV2", "ListObjectVersions"). Every value in the query is escaped
 * as the signature wants it: the `minio` client leaves the slashes of a `key-marker` as they are, which services that check the
 * signature by the letter refuse behind the first thousand keys.
 */
import { type ListedKey, pageOf, UnreadableAnswer } from './s3-answers.ts'

/** The answer to a GET of the bucket with this query. */
export type Ask = (query: string) => Promise<string>

const PAGE = 1000

/** What is there now, in order. */
export async function* listKeys(ask: Ask, prefix: string): AsyncGenerator<ListedKey> {
  for (let from: Readonly<Record<string, string>> = {}; ; ) {
    const page = pageOf(await ask(queryOf({ 'list-type': '2', 'max-keys': String(PAGE), prefix, ...from })))
    yield* page.keys
    if (!page.isTruncated) return
    const last = page.keys.at(-1)?.key
    const next: Readonly<Record<string, string>> =
      page.token !== undefined ? { 'continuation-token': page.token } : { 'start-after': last ?? '' }
    from = goingOn(from, next)
  }
}

/** Every version of everything, and what hides some: of each key the newest first, the hiding ones of a page behind its versions. */
export async function* listVersions(ask: Ask, prefix: string): AsyncGenerator<ListedKey> {
  let before = new Set<string>()
  for (let from: Readonly<Record<string, string>> = {}; ; ) {
    const page = pageOf(await ask(queryOf({ versions: '', 'max-keys': String(PAGE), prefix, ...from })))
    const seen = new Set<string>()
    for (const one of page.keys) {
      const version = `${one.key} ${one.version ?? ''}`
      seen.add(version)
      // Some services begin a page with what the one before ended with.
      if (!before.has(version)) yield one
    }
    if (!page.isTruncated) return
    before = seen
    const last = page.keys.reduce((a, { key }) => (key > a ? key : a), '')
    from = goingOn(from, {
      'key-marker': page.keyMarker ?? last,
      ...(page.versionMarker === undefined ? {} : { 'version-id-marker': page.versionMarker }),
    })
  }
}

/** A service that says "more" and does not get any further would be asked for ever. */
function goingOn(
  from: Readonly<Record<string, string>>,
  next: Readonly<Record<string, string>>,
): Readonly<Record<string, string>> {
  if (queryOf(from) === queryOf(next) || Object.values(next)[0] === '')
    throw new UnreadableAnswer('a listing that does not go on')
  return next
}

/** Sorted and escaped, as the signature has it ("Create a signed AWS API request", canonical query string). */
export function queryOf(values: Readonly<Record<string, string>>): string {
  return Object.keys(values)
    .sort()
    .map((name) => `${escaped(name)}=${escaped(values[name]!)}`)
    .join('&')
}

function escaped(value: string): string {
  return encodeURIComponent(value).replace(
    /[!'()*]/g,
    (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`,
  )
}
