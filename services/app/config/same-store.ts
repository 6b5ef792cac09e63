/** Whether two URLs name one store, however each is written: a folder by another path, or with other credentials. */
import { realpathSync } from 'node:fs'
import { resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

/** Those that say which store is meant; the others say how it is spoken to. */
const NAMING = ['account', 'endpoint']

export function isSameStore(one: string, other: string): boolean {
  return one === other || nameOf(one) === nameOf(other)
}

function nameOf(url: string): string {
  const parsed = url.includes('://') ? URL.parse(url) : null
  if (parsed === null || parsed.protocol === 'file:') return folderOf(parsed === null ? url : parsed)
  const named = NAMING.map((name) => parsed.searchParams.get(name)?.replace(/\/+$/, '') ?? '')
  return [parsed.protocol, parsed.host, parsed.pathname.replace(/\/+$/, ''), ...named].join(' ')
}

function folderOf(place: string | URL): string {
  const path = resolve(typeof place === 'string' ? place : fileURLToPath(place))
  try {
    return realpathSync(path)
  } catch {
    return path
  }
}
