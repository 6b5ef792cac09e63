/** The connection to the source is cut at random, again and again; nothing is lost, nothing doubled. The seed is printed. */
import { createServer, connect as dial, type Socket } from 'node:net'
import { expect, test } from 'vitest'
import { random } from '../../services/demo/chat-traffic.ts'
import { Backup, digests, shown } from '../support/backup.ts'

const SEED = Number(process.env['TIDEMARK_SEED'] ?? Math.floor(Math.random() * 2 ** 31))

test(`connections cut at random (seed ${SEED})`, async () => {
  const next = random(SEED)
  await using backup = await Backup.prepare({
    setup:
      'CREATE TABLE m (id bigint PRIMARY KEY, body text); INSERT INTO m SELECT i, repeat(md5(i::text), 10) FROM generate_series(1, 3000) i; CREATE TABLE nokey (v int)',
  })
  await backup.init()
  const target = new URL(backup.sourceUrl)
  const open = new Set<Socket>()
  let cutting = false
  const proxy = createServer((near) => {
    const far = dial(Number(target.port), target.hostname)
    const end = (): void => void (near.destroy(), far.destroy(), open.delete(near))
    open.add(near)
    let left = cutting ? 2_000 + Math.floor(next() * 60_000) : Number.POSITIVE_INFINITY
    far.on('data', (chunk: Buffer) => {
      left -= chunk.length
      // In mid-message: the last piece goes out short.
      if (left <= 0) {
        near.write(chunk.subarray(0, Math.max(1, chunk.length + left)))
        setImmediate(end)
      } else if (!near.write(chunk)) {
        far.pause()
        near.once('drain', () => far.resume())
      }
    })
    near.on('data', (chunk: Buffer) => far.write(chunk))
    for (const socket of [near, far]) socket.on('error', end).on('close', end)
  })
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve))
  const address = proxy.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  const through = new URL(backup.sourceUrl)
  through.port = String(address.port)
  try {
    await backup.up({ sourceUrl: through.toString() })
    cutting = true
    for (let i = 0; i < 40; i++) {
      await backup.source.query(
        `INSERT INTO m SELECT g, repeat(md5(g::text), 30) FROM generate_series(${10_000 + i * 50}, ${10_000 + i * 50 + 49}) g; INSERT INTO nokey VALUES (${i % 3}); UPDATE m SET body = 'x' WHERE id % 97 = ${i}`,
      )
      if (next() < 0.25) for (const socket of open) socket.destroy()
      await new Promise((resolve) => setTimeout(resolve, 60))
    }
    cutting = false
    for (const socket of open) socket.destroy()
    await backup.durable()
    expect(backup.events.filter((event) => event.event === 'retry').length).toBeGreaterThan(1)
    const restored = await backup.restore('latest')
    expect(shown(await digests(restored.url))).toEqual(shown(await digests(backup.sourceUrl)))
  } finally {
    for (const socket of open) socket.destroy()
    proxy.close()
  }
})
