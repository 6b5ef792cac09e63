/** Names of a whole log: as the ledger has it, and of its writer at the brokers. */
import { streamMark } from './unit.ts'

/** How the ledger names a log: another cluster, or another prefix, is another log. */
export function logName(clusterId: string, prefix: string): string {
  return `kafka:${clusterId}:${prefix}`
}

/** The writer's name at the brokers: who opens it again fences the one before. Other backups have other names. */
export function transactionalId(prefix: string, stream: string): string {
  return `${olderTransactionalId(prefix)}.${streamMark(stream)}`
}

/** As versions named it whose units have no stream. */
export function olderTransactionalId(prefix: string): string {
  return `${prefix}.replicator`
}
