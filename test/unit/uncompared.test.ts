/** A point so new that the catalog was not compared with its records up to there: the plan says so, once, and where it was. */
import { expect, test } from 'vitest'
import { type Position, positionBefore, positionText } from '../../services/core/position.ts'
import { resolvePoint } from '../../services/history/point.ts'
import { parsePoint } from '../../services/history/point-text.ts'
import { uncompared } from '../../services/rebuild/uncompared.ts'
import { MemoryPipeline } from '../support/memory-pipeline.ts'

test('what lies behind the last comparison says so, and names a place that a restore takes', async () => {
  const pipeline = await MemoryPipeline.create([
    { oid: 16400, name: 't', columns: ['x'], identity: 'default' },
  ])
  await pipeline.start(1)
  const { source } = pipeline
  const insert = (id: number): Position => source.commit([{ kind: 'insert', table: 't', id, values: ['x'] }])
  await pipeline.durable(insert(1))
  await pipeline.takeBase()
  const compared = insert(2)
  await pipeline.durable(compared)
  const last = insert(3)
  await pipeline.durable(last)
  await pipeline.drain()
  const { catalog } = pipeline.repository
  const said = async (at: string): Promise<string | undefined> =>
    uncompared(catalog, await resolvePoint(pipeline.repository, parsePoint(at)), [])
  // Never since the base: there is no place to name.
  expect(await said('latest')).toMatch(/last compared .* to be certain: the same restore again once `up`/)
  catalog.generation!.checked = last
  const text = await said('latest')
  expect(text).toContain(`at ${positionText(last)}, `)
  const place = /--at (\S+),/.exec(text ?? '')?.[1]
  expect(place).toBe(positionText(positionBefore(last)))
  expect(await said(place!)).toBeUndefined()
  expect(await said(positionText(compared))).toBeUndefined()
})
