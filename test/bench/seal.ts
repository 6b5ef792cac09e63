/** Encode, compress, seal and put segments into a local S3 server over TLS, against a plain put of the same segments' raw bytes. */
import { rm } from 'node:fs/promises'
import { TupleEncoder } from '../../services/engines/postgres/source/tuple-encoder.ts'
import { ByteSink } from '../../services/core/byte-sink.ts'
import { segmentName } from '../../services/formats/object-name.ts'
import { CompressionGate, SegmentBuilder } from '../../services/compactor/segment-builder.ts'
import { openStore } from '../../services/app/wiring/open-backup.ts'
import { systemClock, systemRandomness } from '../../services/core/clock.ts'
import { LIMITS } from '../../services/core/limits.ts'
import { positionOf } from '../../services/core/position.ts'
import type { RelationVersion } from '../../services/core/relation.ts'
import type { EncodedChanges } from '../../services/core/transaction.ts'
import { newKeys, openKeys } from '../../services/adapters/keys/key-folder.ts'
import { createLedger } from '../../services/repository/genesis.ts'
import { columnType } from '../../services/engines/postgres/dialect/column-type.ts'
import { Replicas } from '../../services/repository/replicas.ts'
import { Repository } from '../../services/repository/repository.ts'
import { NO_S3, startS3 } from '../support/store-bench.ts'
import { messageRows } from './dataset.ts'
import type { Figure } from './main.ts'
import { median, spread } from './tools.ts'

const SEGMENTS = Number(process.env['BENCH_SEGMENTS'] ?? 10)
const SEGMENT_BYTES = 32 * 1024 * 1024
const ROWS = 20_000
/** Of a chat's messages; type OIDs of pg_type.dat. */
const MESSAGES: RelationVersion = {
  oid: 16400,
  schema: 'public',
  name: 'messages',
  identity: 'default',
  columns: [
    ['id', 20],
    ['conversation_id', 20],
    ['sender_id', 20],
    ['sent_at', 1184],
    ['kind', 21],
    ['body', 25],
  ].map(([name, typeOid], i) => ({ name: String(name), ...columnType(Number(typeOid), -1), key: i === 0 })),
}

/** Insert messages as the server sends them, behind their relation's OID (protocol, "Logical Replication Message Formats"). */
function wireRows(): Buffer[] {
  return messageRows(ROWS).map((row) => {
    const values = row.map((text) => Buffer.from(text, 'utf8'))
    const parts: Buffer[] = [Buffer.from([0x4e, 0, values.length])]
    for (const value of values) {
      const head = Buffer.alloc(5)
      head[0] = 0x74
      head.writeUInt32BE(value.length, 1)
      parts.push(head, value)
    }
    return Buffer.concat(parts)
  })
}

/** Parts of a transaction, as the stream gives them to the compactor. */
function* encoded(encoder: TupleEncoder, wire: readonly Buffer[], bytes: number): Generator<EncodedChanges> {
  const lsn = Buffer.from([0x80, 0x80, 0x80, 0x80, 0x10])
  let done = 0
  for (let next = 0; done < bytes; ) {
    const sink = new ByteSink(2 * LIMITS.partBytes)
    const offsets: number[] = []
    while (sink.at < LIMITS.partBytes) {
      offsets.push(sink.at)
      const row = wire[next++ % wire.length]!
      encoder.change(sink, 0x49, lsn, next, row, 0, row.length)
    }
    offsets.push(sink.at)
    done += sink.at
    yield {
      bytes: sink.buffer.subarray(0, sink.at),
      offsets: Uint32Array.from(offsets),
      shapeOf: new Uint16Array(offsets.length - 1),
      shapes: [encoder.shape],
      count: offsets.length - 1,
    }
  }
}

export async function benchSeal(
  folder: string,
  pairs: number,
  say: (text: string) => void,
): Promise<Figure[]> {
  const what = `seal (encode, compress, encrypt) and put to a local S3 server: ${SEGMENTS} segments of ${SEGMENT_BYTES / 1024 ** 2} MiB`
  const against = 'a plain put of the same raw bytes'
  if (NO_S3 !== undefined)
    return [{ what, against, measured: `not measured: ${NO_S3}`, reach: 'at least 0.7', reached: false }]
  const s3 = await startS3()
  try {
    const wire = wireRows()
    const encoder = new TupleEncoder(MESSAGES, 'utf8')
    const raw = [...encoded(encoder, wire, SEGMENT_BYTES)].map((part) => part.bytes)
    const made = await newKeys(folder, 'rsa', systemRandomness)
    const stream = systemRandomness.uuid()
    const { url } = await s3.bucket()
    const store = await openStore(url)
    const genesis = await createLedger(
      store,
      systemClock,
      { kind: 'genesis', stream, signers: [...made.publicSigners], recipients: [...made.recipients] },
      made.signers.writer,
    )
    await made.write({ stream, genesis, signers: [...made.publicSigners] })
    const keys = await openKeys(folder, 'writer')
    const repository = await Repository.open({
      stores: Replicas.alone(store),
      trust: keys.trust,
      provider: keys.provider,
      signer: keys.signer,
      clock: systemClock,
      randomness: systemRandomness,
    })
    await repository.keyring.current(repository.signer)
    const ratios: number[] = []
    const speeds: number[] = []
    let sealedBytes = 0
    for (let pair = 0; pair < pairs; pair++) {
      const plain =
        (await inFlight(SEGMENTS, (i) =>
          store.putIfAbsent(`segments/plain-${pair}-${i}`, [Buffer.concat(raw)]).then(() => undefined),
        )) / 1000
      const gate = new CompressionGate()
      sealedBytes = 0
      const ours =
        (await inFlight(SEGMENTS, async (i) => {
          const builder = new SegmentBuilder(gate)
          for (const part of encoded(encoder, wire, SEGMENT_BYTES)) {
            builder.add(part)
            if (gate.isFull) await gate.room()
          }
          const { pieces } = await builder.finish(systemRandomness.bytes(16))
          const sealed = await repository.seal(
            segmentName(
              1,
              0,
              positionOf(BigInt(pair * 100 + i)),
              positionOf(BigInt(pair * 100 + i + 1)),
              0,
              repository.nonce(),
            ),
            pieces,
            { kind: 'segment', generation: '1', lane: '0' },
          )
          sealedBytes += Number(sealed.object.bytes)
          await repository.put(sealed)
        })) / 1000
      ratios.push(plain / ours)
      speeds.push((SEGMENTS * SEGMENT_BYTES) / 1e6 / ours)
      say(`seal and put: ${ours.toFixed(2)} s, plain put ${plain.toFixed(2)} s`)
      for (let i = 0; i < SEGMENTS; i++) await store.remove(`segments/plain-${pair}-${i}`)
    }
    const factor = (SEGMENTS * SEGMENT_BYTES) / sealedBytes
    return [
      {
        what,
        against,
        measured: `${Math.round(median(speeds))} MB/s of raw bytes, stored 1/${factor.toFixed(1)}: ${median(ratios).toFixed(2)} of its speed (${spread(ratios)})`,
        reach: 'at least 0.7',
        reached: median(ratios) >= 0.7,
      },
    ]
  } finally {
    await s3[Symbol.asyncDispose]()
    await rm(folder, { recursive: true, force: true })
  }
}

/** As many at once as the compactor stores; ms. */
async function inFlight(count: number, task: (i: number) => Promise<void>): Promise<number> {
  const from = performance.now()
  let next = 0
  await Promise.all(
    Array.from({ length: LIMITS.segmentsInFlight }, async () => {
      while (next < count) await task(next++)
    }),
  )
  return performance.now() - from
}
