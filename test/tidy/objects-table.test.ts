/** The page for people on what comes back is the one that the code makes. Made again with `npx vitest -u` here. */
import { expect, test } from 'vitest'
import { objectsTable } from '../../services/engines/postgres/catalog/objects-table.ts'

test('docs/objects.md is made from the kinds of objects that are read', async () => {
  await expect(objectsTable()).toMatchFileSnapshot('../../docs/objects.md')
})
