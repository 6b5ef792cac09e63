/** Answers of S3 services that say the same in other words, and questions that are escaped as signatures want it. */
import { describe, expect, test } from 'vitest'
import {
  hasLock,
  isHeld,
  pageOf,
  retainedUntil,
  UnreadableAnswer,
  versioningOf,
} from '../../services/adapters/object-store/s3-answers.ts'
import { codeOf } from '../../services/adapters/object-store/s3-errors.ts'
import { listKeys, listVersions, queryOf } from '../../services/adapters/object-store/s3-listing.ts'
import { isMistake } from '../../services/core/mistake.ts'

const HEAD = '<?xml version="1.0" encoding="UTF-8"?>'

describe('what is inside counts, whatever it is wrapped in', () => {
  test.each(['VersioningConfiguration', 'GetBucketVersioningOutput', 'ns2:Whatever'])('%s', (root) => {
    const wrapped = (inside: string): string => `${HEAD}\n<${root} xmlns="http://x/">${inside}</${root}>`
    expect(versioningOf(wrapped('<Status>Enabled</Status>'))).toBe(true)
    expect(versioningOf(wrapped('<Status>Suspended</Status>'))).toBe(false)
    expect(versioningOf(wrapped(''))).toBe(false)
    expect(hasLock(wrapped('<ObjectLockEnabled>Enabled</ObjectLockEnabled>'))).toBe(true)
    expect(hasLock(wrapped(''))).toBe(false)
    expect(
      retainedUntil(
        wrapped('<Mode>GOVERNANCE</Mode><RetainUntilDate>2030-01-01T00:00:00Z</RetainUntilDate>'),
      ),
    ).toBe(Date.UTC(2030, 0, 1))
    expect(retainedUntil(wrapped(''))).toBeUndefined()
    expect(isHeld(wrapped('<Status>ON</Status>'))).toBe(true)
    expect(isHeld(wrapped('<Status>OFF</Status>'))).toBe(false)
    const { keys } = pageOf(
      wrapped(
        '<Version><Key>a/1</Key><VersionId>007</VersionId><Size>12</Size><LastModified>2030-01-01T00:00:00Z</LastModified></Version><DeleteMarker><Key>a/1</Key><VersionId>8</VersionId></DeleteMarker>',
      ),
    )
    expect(keys).toEqual([
      { key: 'a/1', at: Date.UTC(2030, 0, 1), bytes: 12, version: '007', isMarker: false },
      { key: 'a/1', at: 0, bytes: 0, version: '8', isMarker: true },
    ])
  })

  test('a thousand keys with quoted tags', () => {
    const rows = Array.from(
      { length: 1000 },
      (_, i) => `<Contents><Key>k${i}</Key><ETag>&quot;a&quot;</ETag></Contents>`,
    )
    expect(pageOf(`<R>${rows.join('')}</R>`).keys.length).toBe(1000)
  })

  test.each(['', 'busy', '<html><body>Sign in</body></html>', '<R><Contents><Key>a', '<R><Contents/></R>'])(
    'what is none of it is said to be none, and no mistake of ours: %s',
    (text) => {
      let error: unknown
      try {
        pageOf(text)
      } catch (thrown) {
        error = thrown
      }
      expect(error).toBeInstanceOf(UnreadableAnswer)
      expect(isMistake(error)).toBe(false)
    },
  )

  test('an error under the status of a success', () => {
    try {
      pageOf(`${HEAD}<Error><Code>SlowDown</Code></Error>`)
      expect.unreachable()
    } catch (error) {
      expect(codeOf(error)).toBe('SlowDown')
    }
  })
})

describe('listings', () => {
  const page = (inside: string, isTruncated: boolean): string =>
    `<R><IsTruncated>${isTruncated}</IsTruncated>${inside}</R>`

  async function asked(
    list: typeof listKeys,
    answers: readonly string[],
  ): Promise<{ queries: string[]; keys: string[] }> {
    const queries: string[] = []
    const keys: string[] = []
    for await (const { key } of list((query) => Promise.resolve(answers[queries.push(query) - 1]!), 'chat/'))
      keys.push(key)
    return { queries, keys }
  }

  test('every value is escaped, the marks of the next page too', async () => {
    const { queries, keys } = await asked(listVersions, [
      page(
        '<NextKeyMarker>chat/a/1</NextKeyMarker><NextVersionIdMarker>x/+=</NextVersionIdMarker><Version><Key>chat/a/1</Key></Version>',
        true,
      ),
      page('<Version><Key>chat/a/2</Key></Version>', false),
    ])
    expect(keys).toEqual(['chat/a/1', 'chat/a/2'])
    expect(queries).toEqual([
      'max-keys=1000&prefix=chat%2F&versions=',
      'key-marker=chat%2Fa%2F1&max-keys=1000&prefix=chat%2F&version-id-marker=x%2F%2B%3D&versions=',
    ])
    expect(queryOf({ b: "!'()* ~", a: '' })).toBe('a=&b=%21%27%28%29%2A%20~')
  })

  test('what a page begins with again is told once', async () => {
    const one = (key: string, version: string): string =>
      `<Version><Key>chat/${key}</Key><VersionId>${version}</VersionId></Version>`
    const { keys, queries } = await asked(listVersions, [
      page(`<NextKeyMarker></NextKeyMarker>${one('a', '2')}${one('a', '1')}`, true),
      page(`${one('a', '1')}${one('a', '0')}${one('b', '1')}`, false),
    ])
    expect(keys).toEqual(['chat/a', 'chat/a', 'chat/a', 'chat/b'])
    expect(queries[1]).toContain('key-marker=chat%2Fa&')
  })

  test('goes on behind the last key where a service gives no mark', async () => {
    const { queries } = await asked(listKeys, [
      page('<Contents><Key>chat/1</Key></Contents>', true),
      page('', false),
    ])
    expect(queries[1]).toBe('list-type=2&max-keys=1000&prefix=chat%2F&start-after=chat%2F1')
  })

  test('ends where a service says "more" and does not go on', async () => {
    const same = page(
      '<NextContinuationToken>t</NextContinuationToken><Contents><Key>chat/1</Key></Contents>',
      true,
    )
    await expect(asked(listKeys, [same, same, same])).rejects.toBeInstanceOf(UnreadableAnswer)
    await expect(asked(listVersions, [page('', true)])).rejects.toBeInstanceOf(UnreadableAnswer)
  })
})
