/** What commands say: lines for people, one JSON object per line for programs, the last one with `ok`. */
import { allCodes } from '../core/error-codes.ts'
import type { TidemarkError } from '../core/errors.ts'
import type { Finding } from '../core/finding.ts'
import { stackOf } from '../core/mistake.ts'
import { writeFailureFile } from './failure-file.ts'

export class Output {
  readonly json: boolean
  readonly #warned = new Set<string>()

  constructor(json: boolean) {
    this.json = json
  }

  /** An event of a running command: only with --json, unless it has words for people. */
  event(event: object, words?: string): void {
    if (this.json) process.stdout.write(`${JSON.stringify(event)}\n`)
    else if (words !== undefined) process.stdout.write(`${words}\n`)
  }

  line(words = ''): void {
    if (!this.json) process.stdout.write(`${words}\n`)
  }

  /** The result: last line of standard output with --json. */
  result(result: object): void {
    if (this.json) process.stdout.write(`${JSON.stringify({ ok: true, ...result })}\n`)
  }

  /** Once for each code: what is not as it should be, and stops nothing. On standard error; the result is not it. */
  warn(finding: Finding | undefined): void {
    if (finding === undefined || this.#warned.has(finding.code)) return
    this.#warned.add(finding.code)
    process.stderr.write(
      this.json
        ? `${JSON.stringify({ event: 'warning', code: finding.code, what: finding.what, fix: finding.fix })}\n`
        : `warning ${finding.code}: ${finding.what}\n  next: ${finding.fix}\n`,
    )
  }

  /**
   * A mistake of ours with its stack, which is what mends it.
   *
   * @param command its name, for the file that a mistake of ours is written to
   */
  failure(error: TidemarkError, command: string): void {
    const { code, message, means } = error
    const isMistake = code === 'INTERNAL'
    const stack = isMistake ? stackOf(error) : undefined
    const file = isMistake ? writeFailureFile(error, command) : undefined
    const next = file === undefined ? error.next : `${error.next}, with the file ${file}`
    if (this.json) {
      process.stdout.write(
        `${JSON.stringify({ ok: false, error: { code, message, means, next, stack, file } })}\n`,
      )
      return
    }
    process.stderr.write(
      `\nerror ${code}: ${message}\n  for the data: ${means}\n  next:         ${next}\n${stack === undefined ? '' : `${stack}\n`}`,
    )
  }
}

export function exitCodeTable(): string {
  const byExit = new Map<number, string[]>()
  for (const [code, { exit }] of allCodes()) byExit.set(exit, [...(byExit.get(exit) ?? []), code])
  return [...byExit]
    .sort(([a], [b]) => a - b)
    .map(([exit, codes]) => `${String(exit).padStart(4)}  ${codes.join(', ')}`)
    .join('\n')
}

const STEPS = ['B', 'KiB', 'MiB', 'GiB', 'TiB']

export function bytesText(bytes: number | string | bigint): string {
  let value = Number(bytes)
  let step = 0
  for (; value >= 1024 && step < STEPS.length - 1; step++) value /= 1024
  return `${step === 0 ? value : value.toFixed(1)} ${STEPS[step]}`
}

export function countText(value: number | string | bigint): string {
  return Number(value).toLocaleString('en-US')
}

/** Columns aligned, two spaces between. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]?.map((_, i) => Math.max(...rows.map((row) => (row[i] ?? '').length))) ?? []
  return rows
    .map((row) =>
      row
        .map((cell, i) => (i === row.length - 1 ? cell : cell.padEnd(widths[i]!)))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}
