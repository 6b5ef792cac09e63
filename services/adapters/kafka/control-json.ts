/** Control records as JSON, with LSNs as PostgreSQL writes them. */
import { formatLsn, type Lsn, parseLsn } from '../../core/position.ts'
import type { ControlRecord } from '../../core/transaction.ts'

export function controlJson(record: ControlRecord): string {
  return JSON.stringify(record, (_, value: unknown) => (typeof value === 'bigint' ? { $lsn: formatLsn(value as Lsn) } : value))
}

export function parseControl(json: string): ControlRecord {
  return JSON.parse(json, (_, value: unknown) => (typeof value === 'object' && value !== null && '$lsn' in value && typeof value.$lsn === 'string' ? parseLsn(value.$lsn) : value)) as ControlRecord
}
