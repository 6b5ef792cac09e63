/**
 * Sets of transactions. MySQL: ranges by the server that began them (UUID, with a tag since 8.3). MariaDB: in each domain the last
 * one, which stands for all before it. Each is compared by its own rules (hazard 66).
 */
import { TidemarkError } from '../../../core/errors.ts'

/** Inclusive. */
type Range = readonly [from: bigint, to: bigint]

/** What a MySQL server has executed, `uuid:1-5:9,uuid:tag:1-3`. Immutable. */
export class MysqlGtids {
  /** By `uuid` or `uuid:tag`; sorted, apart from each other. */
  readonly #ranges: ReadonlyMap<string, readonly Range[]>

  private constructor(ranges: ReadonlyMap<string, readonly Range[]>) {
    this.#ranges = ranges
  }

  static readonly empty = new MysqlGtids(new Map())

  /** @throws TidemarkError PROTOCOL */
  static parse(text: string): MysqlGtids {
    const found = new Map<string, Range[]>()
    for (const part of text.split(',').map((one) => one.trim())) {
      if (part === '') continue
      const [uuid = '', ...rest] = part.toLowerCase().split(':')
      if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(uuid)) throw noGtid()
      let source = uuid
      for (const piece of rest) {
        if (/^[a-z_][a-z0-9_]{0,31}$/.test(piece)) {
          source = `${uuid}:${piece}`
          continue
        }
        const [, from, to] = /^(\d+)(?:-(\d+))?$/.exec(piece) ?? []
        if (from === undefined) throw noGtid()
        const range: Range = [BigInt(from), BigInt(to ?? from)]
        if (range[0] < 1n || range[1] < range[0]) throw noGtid()
        found.set(source, [...(found.get(source) ?? []), range])
      }
    }
    return new MysqlGtids(new Map([...found].map(([source, ranges]) => [source, merged(ranges)])))
  }

  with(source: string, number: bigint): MysqlGtids {
    const ranges = merged([...(this.#ranges.get(source) ?? []), [number, number]])
    return new MysqlGtids(new Map(this.#ranges).set(source, ranges))
  }

  has(source: string, number: bigint): boolean {
    return this.#ranges.get(source)?.some(([from, to]) => from <= number && number <= to) === true
  }

  contains(other: MysqlGtids): boolean {
    for (const [source, ranges] of other.#ranges)
      for (const [from, to] of ranges)
        if (this.#ranges.get(source)?.some((own) => own[0] <= from && to <= own[1]) !== true) return false
    return true
  }

  /** How many there are. */
  get size(): bigint {
    let size = 0n
    for (const ranges of this.#ranges.values()) for (const [from, to] of ranges) size += to - from + 1n
    return size
  }

  /** Sorted by the source, as the server prints it. */
  toString(): string {
    return [...this.#ranges]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([source, ranges]) => `${source}:${ranges.map(rangeText).join(':')}`)
      .join(',')
  }

  /** As COM_BINLOG_DUMP_GTID takes it. Tagged ones need a form that only newer servers know. */
  encode(): Buffer {
    const sources = [...this.#ranges].sort(([a], [b]) => (a < b ? -1 : 1))
    const parts: Buffer[] = [numbers(BigInt(sources.length))]
    for (const [source, ranges] of sources) {
      if (source.includes(':'))
        throw new TidemarkError('PROTOCOL', 'tagged GTIDs cannot be asked for in the form that is known here')
      // The end of a range is the first one behind it.
      parts.push(Buffer.from(source.replaceAll('-', ''), 'hex'), numbers(BigInt(ranges.length)))
      for (const [from, to] of ranges) parts.push(numbers(from, to + 1n))
    }
    return Buffer.concat(parts)
  }
}

function numbers(...values: readonly bigint[]): Buffer {
  const bytes = Buffer.alloc(8 * values.length)
  for (const [i, value] of values.entries()) bytes.writeBigUInt64LE(value, 8 * i)
  return bytes
}

function rangeText([from, to]: Range): string {
  return from === to ? String(from) : `${from}-${to}`
}

function merged(ranges: readonly Range[]): readonly Range[] {
  const sorted = [...ranges].sort((a, b) => (a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : 0))
  const found: [bigint, bigint][] = []
  for (const [from, to] of sorted) {
    const last = found.at(-1)
    if (last !== undefined && from <= last[1] + 1n) last[1] = to > last[1] ? to : last[1]
    else found.push([from, to])
  }
  return found
}

function noGtid(): TidemarkError {
  return new TidemarkError('PROTOCOL', 'the server named a set of transactions that is none')
}

interface MariadbGtid {
  readonly domain: number
  readonly server: number
  readonly sequence: bigint
}

export type Gtid =
  | { readonly flavour: 'mysql'; readonly source: string; readonly number: bigint }
  | ({ readonly flavour: 'mariadb' } & MariadbGtid)

/** What a MariaDB server has executed, `domain-server-sequence,…`: the last one of each domain. Immutable. */
export class MariadbGtids {
  readonly #last: ReadonlyMap<number, MariadbGtid>

  private constructor(last: ReadonlyMap<number, MariadbGtid>) {
    this.#last = last
  }

  static readonly empty = new MariadbGtids(new Map())

  /** @throws TidemarkError PROTOCOL */
  static parse(text: string): MariadbGtids {
    const last = new Map<number, MariadbGtid>()
    for (const part of text.split(',').map((one) => one.trim())) {
      if (part === '') continue
      const [, domain, server, sequence] = /^(\d+)-(\d+)-(\d+)$/.exec(part) ?? []
      if (domain === undefined || server === undefined || sequence === undefined) throw noGtid()
      last.set(Number(domain), {
        domain: Number(domain),
        server: Number(server),
        sequence: BigInt(sequence),
      })
    }
    return new MariadbGtids(last)
  }

  with(gtid: MariadbGtid): MariadbGtids {
    return new MariadbGtids(new Map(this.#last).set(gtid.domain, gtid))
  }

  /** Within a domain sequence numbers grow, whichever server gives them. */
  has({ domain, sequence }: Pick<MariadbGtid, 'domain' | 'sequence'>): boolean {
    const last = this.#last.get(domain)
    return last !== undefined && sequence <= last.sequence
  }

  contains(other: MariadbGtids): boolean {
    return [...other.#last.values()].every((gtid) => this.has(gtid))
  }

  /** Of all domains together: it grows with every transaction. */
  get sum(): bigint {
    let sum = 0n
    for (const { sequence } of this.#last.values()) sum += sequence
    return sum
  }

  toString(): string {
    return [...this.#last.values()]
      .sort((a, b) => a.domain - b.domain)
      .map(({ domain, server, sequence }) => `${domain}-${server}-${sequence}`)
      .join(',')
  }
}

/** What a server has executed, or a reader of its log has read. */
export type ExecutedGtids =
  | { readonly flavour: 'mysql'; readonly set: MysqlGtids }
  | { readonly flavour: 'mariadb'; readonly set: MariadbGtids }

/** What it is with one more. @throws TidemarkError SOURCE_CHANGED where the other kind of server gave it */
export function withGtid(executed: ExecutedGtids, gtid: Gtid): ExecutedGtids {
  if (executed.flavour === 'mysql' && gtid.flavour === 'mysql')
    return { flavour: 'mysql', set: executed.set.with(gtid.source, gtid.number) }
  if (executed.flavour === 'mariadb' && gtid.flavour === 'mariadb')
    return { flavour: 'mariadb', set: executed.set.with(gtid) }
  throw new TidemarkError('SOURCE_CHANGED', 'the transactions of the log are of another kind of server')
}

/** @throws TidemarkError PROTOCOL */
export function parseGtids(flavour: ExecutedGtids['flavour'], text: string): ExecutedGtids {
  return flavour === 'mysql'
    ? { flavour, set: MysqlGtids.parse(text) }
    : { flavour, set: MariadbGtids.parse(text) }
}

/** Whether the second has nothing that the first lacks. */
export function containsGtids(executed: ExecutedGtids, other: ExecutedGtids): boolean {
  if (executed.flavour === 'mysql' && other.flavour === 'mysql') return executed.set.contains(other.set)
  return executed.flavour === 'mariadb' && other.flavour === 'mariadb' && executed.set.contains(other.set)
}
