/**
 * What S3 services answer, read by what is inside: the outermost element has another name on one service than on the next
 * (`VersioningConfiguration`, `GetBucketVersioningOutput`, …), and some leave out what others say.
 */
import { XMLParser } from 'fast-xml-parser'
import { z } from 'zod'

const parser = new XMLParser({
  parseTagValue: false,
  ignoreDeclaration: true,
  ignorePiTags: true,
  removeNSPrefix: true,
  isArray: (name) => name === 'Contents' || name === 'Version' || name === 'DeleteMarker',
})

/** An answer of the service that is none of this protocol: a page of a proxy, half a document. */
export class UnreadableAnswer extends Error {
  readonly code = 'UnreadableAnswer'
  constructor(what: string, options: ErrorOptions = {}) {
    super(what, options)
    this.name = 'UnreadableAnswer'
  }
}

/** An error that came with the status of a success. */
class LateError extends Error {
  readonly code: string
  constructor(code: string) {
    super('an error under the status of a success')
    this.name = 'LateError'
    this.code = code
  }
}

const text = z.string().optional()
const Listed = z.object({
  Key: z.string(),
  LastModified: text,
  Size: text,
  VersionId: text,
})
const Page = z.object({
  IsTruncated: text,
  NextContinuationToken: text,
  NextKeyMarker: text,
  NextVersionIdMarker: text,
  Contents: z.array(Listed).default([]),
  Version: z.array(Listed).default([]),
  DeleteMarker: z.array(Listed).default([]),
})
const Versioning = z.object({ Status: text })
const LockConfiguration = z.object({ ObjectLockEnabled: text })
const Retention = z.object({ RetainUntilDate: text })
const LegalHold = z.object({ Status: text })

/** One key as a page of a listing has it. */
export interface ListedKey {
  readonly key: string
  /** ms since 1970. */
  readonly at: number
  readonly bytes: number
  readonly version: string | undefined
  readonly isMarker: boolean
}

export interface ListedPage {
  readonly keys: readonly ListedKey[]
  readonly isTruncated: boolean
  readonly token: string | undefined
  readonly keyMarker: string | undefined
  readonly versionMarker: string | undefined
}

/** Objects, or versions and what hides them. @throws UnreadableAnswer */
export function pageOf(xml: string): ListedPage {
  const page = inside(xml, Page)
  return {
    keys: [
      ...page.Contents.map((one) => listed(one, false)),
      ...page.Version.map((one) => listed(one, false)),
      ...page.DeleteMarker.map((one) => listed(one, true)),
    ],
    isTruncated: page.IsTruncated === 'true',
    token: said(page.NextContinuationToken),
    keyMarker: said(page.NextKeyMarker),
    versionMarker: said(page.NextVersionIdMarker),
  }
}

function listed(one: z.output<typeof Listed>, isMarker: boolean): ListedKey {
  return {
    key: one.Key,
    at: Date.parse(one.LastModified ?? '') || 0,
    bytes: Number(one.Size ?? 0),
    version: said(one.VersionId),
    isMarker,
  }
}

/** An element with nothing inside says nothing. */
function said(value: string | undefined): string | undefined {
  return value === '' ? undefined : value
}

/** @throws UnreadableAnswer */
export function versioningOf(xml: string): boolean {
  return inside(xml, Versioning).Status === 'Enabled'
}

/** @throws UnreadableAnswer */
export function hasLock(xml: string): boolean {
  return inside(xml, LockConfiguration).ObjectLockEnabled === 'Enabled'
}

/** Until when, ms since 1970; undefined where it is not locked. @throws UnreadableAnswer */
export function retainedUntil(xml: string): number | undefined {
  const until = Date.parse(inside(xml, Retention).RetainUntilDate ?? '')
  return Number.isNaN(until) ? undefined : until
}

/** @throws UnreadableAnswer */
export function isHeld(xml: string): boolean {
  return inside(xml, LegalHold).Status === 'ON'
}

function inside<S extends z.ZodType>(xml: string, schema: S): z.output<S> {
  let parsed: Record<string, unknown>
  try {
    parsed = parser.parse(xml, true) as Record<string, unknown>
  } catch (error) {
    throw new UnreadableAnswer('no XML', { cause: error })
  }
  const [name, content] = Object.entries(parsed).find(([key]) => key !== '#text') ?? []
  if (name === undefined || name.toLowerCase() === 'html') throw new UnreadableAnswer('no answer of S3')
  if (name === 'Error') {
    const { data } = z.object({ Code: z.string() }).safeParse(content)
    throw new LateError(data?.Code ?? 'Error')
  }
  // An element with nothing inside is an empty text.
  const result = schema.safeParse(content === '' ? {} : content)
  if (!result.success) throw new UnreadableAnswer('an answer of another form', { cause: result.error })
  return result.data
}
