/** Keeps what a file's modules were compiled to: vitest ends its workers without an exit, which would keep it. */
import { flushCompileCache } from 'node:module'
import { afterAll } from 'vitest'

afterAll(() => flushCompileCache())
