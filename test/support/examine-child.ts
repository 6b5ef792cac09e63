/** One look at a store, in a process of its own: says when all is done, and then has nothing left to do. */
import { openStore } from '../../services/app/wiring/open-backup.ts'
import { examineStore } from '../../services/app/operations/examine-store.ts'

const store = await openStore(process.argv[2]!)
const findings = await examineStore(store, 'primary')
await store.putIfAbsent('a', [Buffer.from('1')])
await store.putIfAbsent('a', [Buffer.from('2')])
await store.get('a')
await store.get('a', { start: 0, end: 1 })
await store.digest('a')
await store.size('a')
await store.size('nothing')
await store.get('nothing').catch(() => undefined)
for await (const _ of store.versions?.('a') ?? []);
for await (const _ of store.list('')) break
for await (const object of store.kept('')) await store.purge(object)
process.stdout.write(`done ${findings.filter(({ level }) => level === 'refuse').length}\n`)
