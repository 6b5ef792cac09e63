/**
 * A scratch file for what does not fit into memory during a rebuild. It holds rows, so it is encrypted under a key that
 * never leaves this process, and it has no name once it is open: whatever ends the process also ends the file.
 *
 * Reads and writes are synchronous: a fold is one loop over rows, and the disk holding it up is the back-pressure.
 */
import { createCipheriv, createDecipheriv } from 'node:crypto'
import { closeSync, mkdirSync, openSync, readSync, unlinkSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib'
import type { Randomness } from '../core/clock.ts'
import { TidemarkError } from '../core/errors.ts'

/** Fast rather than small; the checksum finds what the disk garbled. */
const COMPRESSION = { params: { [constants.ZSTD_c_compressionLevel]: 1, [constants.ZSTD_c_checksumFlag]: 1 } }

/** What is compressed at once. */
const STEP_BYTES = 4 * 1024 * 1024

interface Chunk {
  readonly at: number
  /** What it has in plain. */
  readonly plainBytes: number
  /** Stored bytes of each of its steps. */
  readonly steps: readonly number[]
}

export class SpillFile {
  readonly #randomness: Randomness
  readonly #folder: string
  readonly #key: Buffer
  readonly #chunks: Chunk[] = []
  #file: number | undefined
  /** Bytes written so far; room is not used again before the file is closed. */
  size = 0

  constructor(randomness: Randomness, folder: string = tmpdir()) {
    this.#randomness = randomness
    this.#folder = folder
    this.#key = randomness.bytes(32)
  }

  /** Pieces of one chunk; returns the number by which `read` finds it. @throws TidemarkError SPILL_FAILED */
  append(pieces: readonly Buffer[]): number {
    const number = this.#chunks.length
    const at = this.size
    const cipher = createCipheriv('aes-256-ctr', this.#key, counterOf(number))
    const steps: number[] = []
    let plainBytes = 0
    for (const piece of pieces)
      for (let from = 0; from < piece.length; from += STEP_BYTES) {
        const step = piece.subarray(from, from + STEP_BYTES)
        plainBytes += step.length
        const bytes = cipher.update(zstdCompressSync(step, COMPRESSION))
        this.#write(bytes)
        steps.push(bytes.length)
      }
    this.#chunks.push({ at, plainBytes, steps })
    return number
  }

  #write(bytes: Buffer): void {
    this.#try(() => {
      const file = (this.#file ??= this.#open())
      for (let done = 0; done < bytes.length; )
        done += writeSync(file, bytes, done, bytes.length - done, this.size + done)
    })
    this.size += bytes.length
  }

  /** @throws TidemarkError SPILL_FAILED */
  read(number: number): Buffer {
    const { at, plainBytes, steps } = this.#chunks[number]!
    const decipher = createDecipheriv('aes-256-ctr', this.#key, counterOf(number))
    return this.#try(() => {
      let from = at
      const step = (bytes: number): Buffer => {
        const sealed = this.#read(from, bytes)
        from += bytes
        return zstdDecompressSync(decipher.update(sealed))
      }
      if (steps.length === 1) return step(steps[0]!)
      const plain = Buffer.allocUnsafeSlow(plainBytes)
      let to = 0
      for (const bytes of steps) to += step(bytes).copy(plain, to)
      if (to !== plainBytes) throw new Error('a chunk of another length')
      return plain
    })
  }

  #read(at: number, bytes: number): Buffer {
    const sealed = Buffer.allocUnsafe(bytes)
    for (let done = 0; done < bytes; ) {
      const read = readSync(this.#file!, sealed, done, bytes - done, at + done)
      if (read === 0) throw new Error('the file ends early')
      done += read
    }
    return sealed
  }

  close(): void {
    if (this.#file !== undefined) closeSync(this.#file)
    this.#file = undefined
    this.#key.fill(0)
  }

  #open(): number {
    mkdirSync(this.#folder, { recursive: true })
    const path = join(this.#folder, `tidemark-spill-${this.#randomness.bytes(8).toString('hex')}`)
    const file = openSync(path, 'wx+', 0o600)
    unlinkSync(path)
    return file
  }

  #try<T>(action: () => T): T {
    try {
      return action()
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? String(error.code) : 'unreadable'
      throw new TidemarkError(
        'SPILL_FAILED',
        `the scratch file in ${this.#folder} fails (${code}) after ${Math.round(this.size / 1e6)} MB`,
        { cause: error },
      )
    }
  }
}

/** Each chunk has counters of its own: its number in the high half. */
function counterOf(number: number): Buffer {
  const counter = Buffer.alloc(16)
  counter.writeBigUInt64BE(BigInt(number), 0)
  return counter
}
