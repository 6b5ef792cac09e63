/** Who asks in tests. */
import { tmpdir } from 'node:os'
import type { Actor } from '../../services/app/operations/actor.ts'

export const TESTER: Actor = { name: 'tester', face: 'test', right: 'account', traces: [tmpdir()] }
