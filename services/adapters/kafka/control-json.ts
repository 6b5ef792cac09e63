/**
 * Control records as JSON, with LSNs as PostgreSQL writes them. A reading of a large schema has megabytes: above a limit
 * the text is compressed (`zstd:` and base64), so that its unit's record stays below what a broker takes.
 */
import { zstdCompressSync, zstdDecompressSync } from 'node:zlib'
import { TidemarkError } from '../../core/errors.ts'
import { formatLsn, type Lsn, parseLsn } from '../../core/position.ts'
import type { ControlRecord } from '../../core/transaction.ts'

const PLAIN_BYTES = 32 * 1024
/** Of one control record in its unit; the broker's default for a record is 1 MiB. */
const MOST_BYTES = 700 * 1024
const COMPRESSED = 'zstd:'

/** @throws TidemarkError LOG_REFUSED where even the compressed text is too large */
export function controlJson(record: ControlRecord): string {
  const plain = JSON.stringify(record, (_, value: unknown) =>
    typeof value === 'bigint' ? { $lsn: formatLsn(value as Lsn) } : value,
  )
  if (plain.length <= PLAIN_BYTES) return plain
  const text = COMPRESSED + zstdCompressSync(Buffer.from(plain)).toString('base64')
  if (text.length > MOST_BYTES)
    throw new TidemarkError(
      'LOG_REFUSED',
      `a ${record.kind} record of ${plain.length} bytes is too large for the change log`,
      { next: 'log: direct' },
    )
  return text
}

export function parseControl(text: string): ControlRecord {
  const plain = text.startsWith(COMPRESSED)
    ? zstdDecompressSync(Buffer.from(text.slice(COMPRESSED.length), 'base64')).toString('utf8')
    : text
  return JSON.parse(plain, (_, value: unknown) =>
    typeof value === 'object' && value !== null && '$lsn' in value && typeof value.$lsn === 'string'
      ? parseLsn(value.$lsn)
      : value,
  ) as ControlRecord
}
