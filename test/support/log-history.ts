/** One random history of a change log in memory, and what must be true at its end. */
import { expect } from 'vitest'
import type { MemoryRows } from '../../services/engines/memory/memory-source.ts'
import { asTidemarkError } from '../../services/core/errors.ts'
import { comparePositions, type Position, positionText } from '../../services/core/position.ts'
import type { LogProcess, Role } from './log-process.ts'
import { LANES, LoggedBackup } from './logged-backup.ts'
import { expectedRows, restoredRows } from './memory-pipeline.ts'
import { MemoryKafka } from './memory-kafka.ts'
import type { MemoryRegistry } from './memory-registry.ts'
import { changes, type Dice, TABLES } from './random-changes.ts'

const STEPS = 30
/**
 * Looks, 5 ms or more apart, between which nothing more was stored: a hundred times as many as the longest wait takes. All of a history is in
 * this process, so that a busy machine has both wait: looks are counted, and no time is taken.
 */
const IDLE_TURNS = 20_000
const PREFIX = 'p'

interface Commit {
  readonly lsn: Position
  readonly rows: ReadonlyMap<string, MemoryRows>
}

interface Side {
  readonly backup: LoggedBackup
  readonly commits: Commit[]
  isApart: boolean
  /** Stopped ones are no longer counted upon. */
  readonly stopped: LogProcess[]
  last: readonly LogProcess[]
}

export class LogHistory implements AsyncDisposable {
  readonly #next: Dice
  readonly #broker = new MemoryKafka()
  readonly #registry: MemoryRegistry
  readonly #sides: Side[] = []
  readonly #copies: ReturnType<MemoryKafka['copy']>[] = []
  #lossRate = 0
  #badSteps = 0
  #steps: readonly (readonly [string, () => unknown])[] = []
  /** What was done, for whoever looks for a fault. */
  readonly told: string[] = []
  readonly actions = new Set<string>()

  private constructor(next: Dice, registry: MemoryRegistry) {
    this.#next = next
    this.#registry = registry
  }

  static async begin(next: Dice, registry: MemoryRegistry): Promise<LogHistory> {
    const history = new LogHistory(next, registry)
    const count = next(3) === 0 ? 2 : 1
    // Records that the source was acknowledged with are lost for good: that is its own history, with one backup.
    const acknowledge = count === 1 && next(4) === 0 ? 'log' : 'segment'
    for (let i = 0; i < count; i++)
      history.#sides.push({
        backup: await LoggedBackup.create({
          broker: history.#broker,
          registryUrl: registry.url,
          prefix: PREFIX,
          acknowledge,
          segmentBytes: 50 + next(3000),
          tables: TABLES,
        }),
        commits: [],
        isApart: next(2) === 0,
        stopped: [],
        last: [],
      })
    history.told.push(`${count} with acknowledge: ${acknowledge}`)
    history.#broker.answer = () => {
      if (next(1000) >= history.#lossRate) return 'good'
      return (['lost', 'unanswered', 'unanswered', 'late'] as const)[next(4)]!
    }
    history.#steps = history.#weighed()
    return history
  }

  async run(): Promise<void> {
    for (const side of this.#sides) this.#start(side)
    for (let step = 0; step < STEPS; step++) {
      this.#commit()
      const [name, act] = this.#steps[this.#next(this.#steps.length)]!
      this.told.push(name)
      this.actions.add(name)
      await act()
      this.#badSteps--
      if (this.#badSteps < 0) this.#broker.refusal = undefined
      if (this.#badSteps < 0) this.#broker.isDown = false
      for (const side of this.#sides) this.#revive(side)
      for (let turns = this.#next(20); turns > 0; turns--) await pause(this.#next(4) === 0 ? 2 : 0)
    }
  }

  /** Everything is good again, and processes that know nothing of it are started. */
  async check(): Promise<void> {
    this.#lossRate = 0
    this.#broker.refusal = undefined
    this.#broker.isDown = false
    for (const side of this.#sides) {
      for (const process of [...side.backup.processes]) await process.kill()
      side.stopped.length = 0
      this.#start(side)
    }
    await Promise.all(this.#sides.map((side) => this.#settle(side)))
    for (const side of this.#sides) await this.#equals(side)
  }

  /** What processes met and tried again, or ended with. */
  get met(): readonly string[] {
    return this.#sides.flatMap(({ backup }) => backup.all.flatMap(({ met }) => met))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { backup } of this.#sides) for (const process of [...backup.processes]) await process.kill()
  }

  #weighed(): readonly (readonly [string, () => unknown])[] {
    const steps: readonly (readonly [number, string, () => unknown])[] = [
      [10, 'write', () => this.#commit()],
      [4, 'wait until stored', () => this.#wait(this.#side())],
      [3, 'kill', () => this.#end('kill')],
      [2, 'drain', () => this.#end('drain')],
      [2, 'stop', () => this.#stop()],
      [2, 'go on', () => this.#goOn()],
      [1, 'another compactor', () => this.#another()],
      [3, 'lose answers', () => (this.#lossRate = 20 + this.#next(150))],
      [2, 'lose no more', () => (this.#lossRate = 0)],
      [3, 'shorten the transactions', () => this.#shorten(`${PREFIX}.transactions`)],
      [3, 'shorten what nobody read', () => this.#shortenUnread()],
      [3, 'shorten a table', () => this.#shorten(this.#tableTopic())],
      [2, 'delete a topic', () => this.#broker.delete(this.#topic())],
      [1, 'delete all topics', () => this.#deleteAll(false)],
      [1, 'delete all, made anew', () => this.#deleteAll(true)],
      [2, 'trim what is stored', () => this.#trimStored()],
      [1, 'trim', () => this.#trim()],
      [2, 'copy the disk', () => this.#copies.push(this.#broker.copy())],
      [2, 'set back', () => this.#setBack()],
      [1, 'empty', () => this.#broker.empty()],
      [2, 'down', () => this.#forAWhile(() => (this.#broker.isDown = true))],
      [1, 'refuse records', () => this.#forAWhile(() => (this.#broker.refusal = this.#refusal()))],
      [1, 'lose the schemas', () => this.#registry.lose()],
    ]
    return steps.flatMap(([weight, name, act]) => Array.from({ length: weight }, () => [name, act] as const))
  }

  // Processes.

  #start(side: Side): void {
    const roles: readonly Role[] = side.isApart ? ['replicator', 'compactor'] : ['both']
    side.last = roles.map((role) => side.backup.start(role))
  }

  /** What ended, with or without a word, is started again, as a supervisor does. */
  #revive(side: Side): void {
    const alive = [...side.backup.processes].filter((one) => !side.stopped.includes(one))
    if (side.isApart) {
      for (const role of ['replicator', 'compactor'] as const)
        if (!alive.some((one) => one.role === role)) side.backup.start(role)
    } else if (!alive.some(({ role }) => role === 'both')) side.backup.start('both')
  }

  #side(): Side {
    return this.#sides[this.#next(this.#sides.length)]!
  }

  #process(side: Side): LogProcess | undefined {
    const all = [...side.backup.processes]
    return all[this.#next(Math.max(1, all.length))]
  }

  /** All of a backup where they change over between one process and two. */
  async #end(how: 'kill' | 'drain'): Promise<void> {
    const side = this.#side()
    const change = this.#next(3) === 0
    const ended = change ? [...side.backup.processes] : [this.#process(side)]
    for (const process of ended) {
      if (process === undefined) continue
      // A drain may have to wait for a broker that is away.
      if (how === 'drain' && !side.stopped.includes(process))
        await Promise.race([process.drain(), pause(this.#next(100))])
      await process.kill()
    }
    if (change) side.isApart = !side.isApart
  }

  #stop(): void {
    const side = this.#side()
    const process = this.#process(side)
    if (process === undefined || side.stopped.includes(process)) return
    process.link.stop()
    side.stopped.push(process)
  }

  /** It was stopped for long: its work is another's now. */
  #goOn(): void {
    for (const side of this.#sides) for (const process of side.stopped.splice(0)) process.link.goOn()
  }

  #another(): void {
    const side = this.#side()
    if (side.isApart && side.backup.processes.size < 4) side.backup.start('compactor')
  }

  // The broker.

  #topic(): string {
    const all = this.#broker.topics()
    return all[this.#next(Math.max(1, all.length))] ?? ''
  }

  #tableTopic(): string {
    return `${PREFIX}.public.${TABLES[this.#next(2)]!.name}`
  }

  #shorten(topic: string): void {
    const partition = topic.endsWith('transactions') ? 0 : this.#next(LANES)
    const { high } = this.#broker.ends(topic, partition)
    this.#broker.shorten(topic, partition, high - BigInt(1 + this.#next(8)))
  }

  /** Compactors stand still meanwhile, and the writer's next answer is lost: it has to look at the log's end. */
  async #shortenUnread(): Promise<void> {
    const side = this.#side()
    for (const process of side.backup.processes)
      if (process.role === 'compactor' && !side.stopped.includes(process)) {
        process.link.stop()
        side.stopped.push(process)
      }
    for (let left = 2 + this.#next(3); left > 0; left--) {
      this.#commit()
      await pause(12)
    }
    if (this.#next(2) === 0) this.#shorten(`${PREFIX}.transactions`)
    else this.#shorten(this.#tableTopic())
    const rate = this.#lossRate
    this.#lossRate = 1000
    this.#commit()
    await pause(15)
    this.#lossRate = rate
    for (const process of side.stopped.splice(0)) process.link.goOn()
  }

  #deleteAll(again: boolean): void {
    const all = this.#broker.topics().map((topic) => ({ topic, count: this.#broker.partitions(topic) }))
    for (const { topic } of all) this.#broker.delete(topic)
    if (again) for (const { topic, count } of all) this.#broker.create(topic, count)
  }

  /** Retention as it should be: what the store has is taken from the log. */
  async #trimStored(): Promise<void> {
    if (this.#sides.length > 1) return
    const { log } = (await this.#sides[0]!.backup.catalog()).generation!
    if (log !== null) this.#broker.trim(`${PREFIX}.transactions`, 0, BigInt(log.at))
  }

  #trim(): void {
    const topic = this.#topic()
    const partition = this.#next(Math.max(1, this.#broker.partitions(topic)))
    const { low, high } = this.#broker.ends(topic, partition)
    this.#broker.trim(topic, partition, low + BigInt(this.#next(Number(high - low) + 1)))
  }

  #setBack(): void {
    const copy = this.#copies[this.#next(Math.max(1, this.#copies.length))]
    if (copy !== undefined) this.#broker.setBack(copy)
  }

  /** Until some steps later. */
  #forAWhile(begin: () => void): void {
    begin()
    this.#badSteps = 1 + this.#next(4)
  }

  #refusal(): string {
    return ['INVALID_RECORD', 'TOPIC_AUTHORIZATION_FAILED', 'NOT_ENOUGH_REPLICAS', 'MESSAGE_TOO_LARGE'][
      this.#next(4)
    ]!
  }

  // The source.

  #commit(): void {
    const { backup, commits } = this.#side()
    const { source } = backup
    for (let left = 1 + this.#next(3); left > 0; left--) {
      const lsn = source.commit(changes(source, this.#next))
      commits.push({ lsn, rows: new Map(TABLES.map(({ name }) => [name, source.rows(name)])) })
    }
  }

  /** In bad times not for long. */
  async #wait({ backup, commits }: Side): Promise<void> {
    const last = commits.at(-1)?.lsn
    for (const deadline = performance.now() + 150; performance.now() < deadline; ) {
      const { generation } = await backup.catalog()
      if (last === undefined || comparePositions(generation!.to, last) >= 0) return
      await pause(5)
    }
  }

  // The end.

  async #settle(side: Side): Promise<void> {
    const { backup, commits } = side
    const last = commits.at(-1)?.lsn
    for (let idle = 0, before = ''; ; idle++) {
      const { generation, generations } = await backup.catalog()
      const reached = `${generations.length} ${positionText(generation!.to)} ${generation!.base !== undefined}`
      if (reached !== before) idle = 0
      before = reached
      const isStored = last === undefined || comparePositions(generation!.to, last) >= 0
      if (isStored && generation!.base !== undefined) break
      const refused = side.last.find(({ failure }) => failure !== undefined)?.failure
      // The other backup was there first: told so, an operator gives this one topics of its own.
      if (refused?.code === 'LOG_FOREIGN' && this.#sides.length > 1 && backup.prefix === PREFIX) {
        for (const process of [...backup.processes]) await process.kill()
        backup.prefix = 'q'
        this.#start(side)
      } else if (refused !== undefined && this.#isLostForGood(side, refused.code)) {
        for (const process of [...backup.processes]) await process.kill()
        this.told.push(`${refused.code}, so a new generation`)
        side.last = [backup.start(side.isApart ? 'replicator' : 'both', refused.message)]
        if (side.isApart) side.last = [...side.last, backup.start('compactor')]
      } else if (refused !== undefined) throw refused
      if (idle > IDLE_TURNS) {
        this.#broker.asked.clear()
        const posts = backup.group.posts.length
        const turns = performance.now()
        await pause(3000)
        const asked = [...this.#broker.asked].map(([where, from]) => `${where}@${from}`).join(' ')
        this.told.push(
          `in ${Math.round(performance.now() - turns)} ms fetched: ${asked}; posted ${posts}, ${backup.group.posts.length}: ${backup.lastPosts()}`,
        )
      }
      if (idle > IDLE_TURNS)
        throw new Error(
          `stored to ${positionText(generation!.to)} of ${last === undefined ? '' : positionText(last)}; ${side.last.map(({ role, met, stage }) => `${role}: ${stage}, ${met.slice(-4).join('; ')}`).join(' | ')}; ${JSON.stringify(generation!.log)}; ${this.#broker.describe()}; ${side.last.map(({ doing }) => doing()).join(' | ')}`,
        )
      await pause(5)
    }
    for (const role of ['both', 'replicator', 'compactor'])
      for (const process of [...backup.processes].filter((one) => one.role === role)) await process.drain()
  }

  /** What the source was acknowledged with is in no log any more: a person is told, and says so. */
  #isLostForGood({ backup }: Side, code: string): boolean {
    return backup.options.acknowledge === 'log' && (code === 'SLOT_AHEAD' || code === 'LOG_REFUSED')
  }

  /** At each commit: the rows, or a refusal where a recorded gap lies. */
  async #equals({ backup, commits }: Side): Promise<void> {
    const catalog = await backup.catalog()
    if (backup.options.acknowledge === 'segment') {
      expect(catalog.gaps, 'the source had all that the log lost').toEqual([])
      expect(catalog.generations.length).toBe(1)
    }
    const first = catalog.generations[0]!.bases[0]
    for (const [i, { lsn, rows }] of commits.entries()) {
      const isLast = i === commits.length - 1
      if (!isLast && this.#next(6) !== 0) continue
      if (first === undefined || comparePositions(lsn, first.closing) < 0) continue
      const inGap = catalog.gaps.some((gap) => {
        const next = catalog.generations.find((g) => g.facts.generation > gap.generation)!.bases[0]
        // Until the next generation's base closes there is nothing behind the gap.
        return (
          comparePositions(lsn, gap.from) > 0 &&
          (next === undefined || comparePositions(lsn, next.closing) < 0)
        )
      })
      const restored = await backup.restore(isLast ? 'latest' : lsn).catch((error: unknown) => {
        if (!inGap) throw error
        return asTidemarkError(error)
      })
      if ('code' in restored) continue
      for (const { name } of TABLES)
        expect(restoredRows(restored, name), `${name} at ${positionText(lsn)}`).toEqual(
          expectedRows(rows.get(name)!),
        )
    }
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => (ms === 0 ? setImmediate(resolve) : setTimeout(resolve, ms)))
}
