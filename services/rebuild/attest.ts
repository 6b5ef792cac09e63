/** Attestations: digests of the source at an exact position, and the same computed from the backup alone. */
import type { Randomness } from '../core/clock.ts'
import type { RowDigest } from '../core/ports/dialect.ts'
import { comparePositions, parsePosition } from '../core/position.ts'
import { ByteSource } from '../core/byte-source.ts'
import type { Repository } from '../repository/repository.ts'
import type { RestorePlan } from './plan.ts'
import { FoldedChanges } from './fold-changes.ts'
import type { RowLayout } from '../history/row-layout.ts'
import { baseBlocks } from '../history/segment-reader.ts'

export interface AttestedTable {
  readonly schema: string
  readonly name: string
  /** Stored columns, in the order that the digest took them. */
  readonly columns: readonly string[]
  readonly rows: bigint
  readonly digest: string
}

/** The attestation of the state that a plan restores: no transaction lies between its position and the point. */
export function attestationAt(plan: RestorePlan): readonly AttestedTable[] | undefined {
  const { generation, position: point, at, next } = plan.point
  // An attestation at L speaks of everything that commits below L: so it is as good for L itself, where nothing commits.
  const behind = at?.position ?? point
  const until = next?.position ?? generation.end
  const found = generation.attestations.findLast(({ body }) => {
    const position = parsePosition(body.at)
    return comparePositions(position, behind) > 0 && comparePositions(position, until) <= 0
  })
  if (found === undefined) return undefined
  const columns = new Map(
    plan.tables
      // Of an extension's table a restore brings what is configuration, with its jobs inactive.
      .filter((t) => t.history.last!.table.extension === undefined)
      .map((t) => [`${t.schema}.${t.name}`, t.history.last!.columns.map((c) => c.name)]),
  )
  return found.body.tables.flatMap((t) => {
    const names = columns.get(`${t.schema}.${t.name}`)
    return names === undefined
      ? []
      : [{ schema: t.schema, name: t.name, columns: names, rows: BigInt(t.rows), digest: t.digest }]
  })
}

/** Folds every table to the plan's point and digests its rows; nothing is written anywhere. */
export async function digestBackup(
  repository: Repository,
  plan: RestorePlan,
  randomness: Randomness,
  signal: AbortSignal,
): Promise<AttestedTable[]> {
  using folds = await FoldedChanges.read({ repository, plan, randomness, signal })
  const out: AttestedTable[] = []
  for (const table of plan.tables) {
    signal.throwIfAborted()
    const digest = plan.dialect.rows.digest()
    const fold = folds.of(table)
    let take: ReturnType<RowDigest['taker']> | undefined
    let opened: ReturnType<typeof fold.open> | undefined
    let final: RowLayout | undefined
    const emit = (source: ByteSource): void => {
      const start = source.at
      final!.skip(source)
      take!(source.buffer, start, source.at)
    }
    if (table.base !== undefined) {
      for await (const block of baseBlocks(repository, table.base.body)) {
        if (opened === undefined) {
          opened = fold.open(block.layout, emit)
          final = opened.layout
          take = digest.taker(final.relation)
        }
        const source = new ByteSource(block.raw)
        for (let i = 0; i < block.rows; i++) {
          opened.next(source)
        }
      }
    }
    if (opened === undefined) {
      opened = fold.open(undefined, emit)
      final = opened.layout
      take = digest.taker(final.relation)
    }
    for (const _ of opened.finish()) signal.throwIfAborted()
    out.push({
      schema: table.schema,
      name: table.name,
      columns: table.history.last!.columns.map((c) => c.name),
      rows: digest.rows,
      digest: digest.digest,
    })
  }
  return out
}
