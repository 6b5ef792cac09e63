/** The CutBoard contract, run by every adapter. */
import { beforeAll, describe, expect, test } from 'vitest'
import { KafkaCutBoard } from '../../services/adapters/kafka/board/kafka-cut-board.ts'
import { MemoryCutGroup } from '../../services/adapters/direct/memory-cut-board.ts'
import { systemClock } from '../../services/core/clock.ts'
import type { CutBoard, CutRole } from '../../services/core/ports/cut-board.ts'
import { NO_KAFKA } from '../support/kafka-bench.ts'
import type { SharedKafka } from '../support/kafka-desk.ts'
import { sharedKafka } from '../support/shared-kafka.ts'

const LANES = 3
const WAIT_MS = 60_000
let bench: SharedKafka | undefined
let groups = 0

type Group = () => Promise<CutBoard>

/** Each call is a group of its own; what it returns makes members. */
const BOARDS: Readonly<Record<string, () => Group>> = {
  memory: () => {
    const group = new MemoryCutGroup(LANES)
    return () => Promise.resolve(group.member())
  },
  ...(NO_KAFKA === undefined
    ? {
        kafka: () => {
          const prefix = `board${++groups}`
          return () =>
            KafkaCutBoard.open({
              settings: {
                brokers: bench!.kafka.bootstrap,
                clientId: 'test',
                tls: undefined,
                sasl: undefined,
                clock: systemClock,
              },
              prefix,
              stream: '00000000-0000-4000-8000-000000000001',
              lanes: LANES,
              replicationFactor: 1,
              clock: systemClock,
            })
        },
      }
    : {}),
}

interface Member {
  readonly board: CutBoard
  role: CutRole
}

async function join(group: Group): Promise<Member> {
  const board = await group()
  const member: Member = { board, role: { leads: false, lanes: [] } }
  await board.join((role) => (member.role = role))
  return member
}

async function until(what: () => boolean, members: readonly Member[]): Promise<void> {
  const deadline = performance.now() + WAIT_MS
  while (!what()) {
    if (performance.now() > deadline)
      throw new Error(`roles: ${JSON.stringify(members.map((member) => member.role))}`)
    await Promise.race([
      new Promise((resolve) => setTimeout(resolve, 20)),
      ...members.map((member) => member.board.failed),
    ])
  }
}

const shared = (members: readonly Member[]): boolean =>
  members.filter((member) => member.role.leads).length === 1 &&
  members
    .flatMap((member) => [...member.role.lanes])
    .sort()
    .join() === '0,1,2'

describe.each(Object.keys(BOARDS))('%s', (kind) => {
  beforeAll(async () => {
    if (kind === 'kafka') bench = await sharedKafka()
  }, 300_000)

  test("one leads, every lane is somebody's, and a member that leaves gives up what it had", async () => {
    const group = BOARDS[kind]!()
    const first = await join(group)
    expect(first.board.lanes).toBe(LANES)
    await until(() => shared([first]), [first])
    const second = await join(group)
    await until(() => shared([first, second]) && second.role.lanes.length > 0, [first, second])
    const [gone, left] = first.role.leads ? [first, second] : [second, first]
    await gone.board.close()
    await until(() => shared([left]), [left])
    await left.board.close()
  })

  test('posts come to everybody in one order, those from before too', async () => {
    const group = BOARDS[kind]!()
    const [one, two] = [await group(), await group()]
    const stop = new AbortController()
    const read = async (board: CutBoard, count: number): Promise<string[]> => {
      const got: string[] = []
      for await (const body of board.posts(stop.signal)) if (got.push(body.toString()) === count) return got
      return got
    }
    await one.post(Buffer.from('before'))
    const reading = Promise.all([read(one, 11), read(two, 11)])
    for (let i = 0; i < 5; i++)
      await Promise.all([one.post(Buffer.from(`a${i}`)), two.post(Buffer.from(`b${i}`))])
    const [here, there] = await reading
    expect(here).toEqual(there)
    expect(here![0]).toBe('before')
    expect(here!.filter((post) => post.startsWith('a'))).toEqual(['a0', 'a1', 'a2', 'a3', 'a4'])
    const waiting = read(one, 99)
    stop.abort(new DOMException('enough', 'AbortError'))
    await expect(waiting).rejects.toThrow()
    for (const board of [one, two]) await board.close()
  })
})
