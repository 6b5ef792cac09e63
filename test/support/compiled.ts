/** Keeps what a file's modules were compiled to: vitest ends its workers without an exit, which would keep it. */
import { flushCompileCache } from 'node:module'
import { afterAll } from 'vitest'
// As a process of ours has it: kafkajs binds its parts when it is loaded, and a test of before may load it first.
import '../../services/adapters/kafka/client/kafkajs.ts'
// And with the whole table of errors, whatever part of the product a test is about.
import '../../services/app/wiring/error-codes.ts'

afterAll(() => flushCompileCache())
