/**
 * What a leader ordered and did not live to see lies on the board for whoever comes next: it may be of a log that has lost its end
 * since, and must not hold up what is ordered behind it.
 */
import { memoryDialect } from '../../services/engines/memory/memory-dialect.ts'
import { expect, test } from 'vitest'
import { CutReader } from '../../services/adapters/kafka/reading/cut-reader.ts'
import { kafkaSettingsOf } from '../../services/app/wiring/compose.ts'
import { sealOrder } from '../../services/compactor/cut-order.ts'
import { systemClock } from '../../services/core/clock.ts'
import { comparePositions, type Position, positionText } from '../../services/core/position.ts'
import { LoggedBackup } from '../support/logged-backup.ts'
import { MemoryKafka } from '../support/memory-kafka.ts'
import { Link } from '../support/memory-link.ts'
import { MemoryRegistry } from '../support/memory-registry.ts'
import { TABLES } from '../support/random-changes.ts'

const TRANSACTIONS = 'p.transactions'
const UNITS = 5

/** Until it is so; what never comes ends with the test's limit. */
async function until(what: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await what())) await new Promise((resolve) => setTimeout(resolve, 2))
}

/** Some transactions, each in a unit of its own; the last one's position. */
async function inUnits({ source, options: { broker } }: LoggedBackup): Promise<Position> {
  let last: Position | undefined
  for (let id = 0; id < UNITS; id++) {
    const { high } = broker.ends(TRANSACTIONS, 0)
    last = source.commit([{ kind: 'insert', table: 'a', id, values: ['x', 'y'] }])
    // A unit has its record and, behind it, its transaction's marker.
    await until(() => broker.ends(TRANSACTIONS, 0).high >= high + 2n)
  }
  return last!
}

function backupOf(broker: MemoryKafka, registry: MemoryRegistry): Promise<LoggedBackup> {
  return LoggedBackup.create({
    broker,
    registryUrl: registry.url,
    prefix: 'p',
    acknowledge: 'segment',
    segmentBytes: 1000,
    tables: TABLES,
  })
}

/** A leader that orders all of the log's units as one cut, and is gone. */
async function leaveOrder(backup: LoggedBackup, to: Position): Promise<void> {
  const repository = await backup.reader()
  const term = await repository.claim(0)
  const { log, end } = repository.catalog.generation!
  const { high } = backup.options.broker.ends(TRANSACTIONS, 0)
  backup.group.post(
    sealOrder(repository, {
      generation: 1,
      term,
      number: 1,
      lane: 1,
      from: log!.from,
      first: log!.at,
      last: String(high - 2n),
      since: Number(log!.since),
      after: positionText(end),
      to: positionText(to),
      segmentBytes: 1000,
    }),
  )
}

test('an order for what the log has no more, of a leader that is gone, holds nothing up', async () => {
  await using registry = await MemoryRegistry.start()
  const broker = new MemoryKafka()
  const backup = await backupOf(broker, registry)
  const writer = backup.start('replicator')
  const last = await inUnits(backup)
  await leaveOrder(backup, last)
  await writer.kill()
  // All but the first unit; what is sent again is one unit, and ends before the last of the old ones did.
  const { low } = broker.ends(TRANSACTIONS, 0)
  broker.shorten(TRANSACTIONS, 0, low + 2n)
  for (const role of ['replicator', 'compactor'] as const) backup.start(role)
  await until(async () => comparePositions((await backup.catalog()).generation!.to, last) >= 0)
  expect(broker.ends(TRANSACTIONS, 0).high).toBeLessThan(2n * BigInt(UNITS))
  for (const process of [...backup.processes]) await process.drain()
})

test('units that the log has no more are not waited for without end, though nothing comes behind them', async () => {
  await using registry = await MemoryRegistry.start()
  const broker = new MemoryKafka()
  const backup = await backupOf(broker, registry)
  const writer = backup.start('replicator')
  const to = await inUnits(backup)
  await writer.kill()
  const { log, end } = (await backup.catalog()).generation!
  const { high } = broker.ends(TRANSACTIONS, 0)
  const { kafka } = backup.config(new Link(broker, () => backup.group.member()))
  const reader = await CutReader.open({
    ...kafka,
    settings: { ...kafkaSettingsOf(kafka), clock: systemClock },
    generation: 1,
    stream: backup.stream,
    records: memoryDialect.records,
    idsFrom: () => undefined,
  })
  const read = async (last: bigint): Promise<number> => {
    const from = BigInt(log!.at)
    const range = { from, first: from, last, since: Number(log!.since), after: end, to }
    let count = 0
    for await (const _ of reader.parts(range, new AbortController().signal)) count++
    return count
  }
  expect(await read(high - 2n)).toBe(UNITS)
  for (const left of [high - 2n, high - 4n]) {
    broker.shorten(TRANSACTIONS, 0, left)
    await expect(read(high - 2n)).rejects.toMatchObject({ code: 'LOG_HOLE' })
  }
  // What is there is there.
  expect(await read(high - 6n)).toBe(UNITS - 2)
  await reader.close()
})
