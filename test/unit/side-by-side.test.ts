/** Tasks side by side: never more than allowed, and the first failure reaches whoever waits. */
import { expect, test } from 'vitest'
import { SideBySide } from '../../services/core/side-by-side.ts'

test('so many tasks and so many bytes at once; a larger one runs alone', async () => {
  const tasks = new SideBySide(3, 100)
  let running = 0
  let bytes = 0
  let most = 0
  for (const size of [10, 20, 30, 40, 50, 60, 200, 10, 10, 10, 10]) {
    await tasks.begin(size, async () => {
      running++
      bytes += size
      most = Math.max(most, running)
      expect(running === 1 || bytes <= 100).toBe(true)
      await new Promise((resolve) => setImmediate(resolve))
      running--
      bytes -= size
    })
  }
  await tasks.all()
  expect([most, running]).toEqual([3, 0])
})

test('a failure is thrown, once what runs has ended', async () => {
  const tasks = new SideBySide(2, 100)
  await tasks.begin(1, () => Promise.reject(new Error('broken')))
  await expect(tasks.all()).rejects.toThrow('broken')
  await expect(tasks.begin(1, () => Promise.resolve())).rejects.toThrow('broken')
})
