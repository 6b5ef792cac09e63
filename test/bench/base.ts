/** The base of the 3 million row database, encrypted, against pg_dump of the same with gzip and with zstd. */
import { execFile } from 'node:child_process'
import { readdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Figure } from './main.ts'
import { median, spread, timed } from './tools.ts'
import type { Workplace } from './workplace.ts'

const run = promisify(execFile)

async function bytesIn(folder: string): Promise<number> {
  let bytes = 0
  for (const name of await readdir(folder)) bytes += (await stat(join(folder, name))).size
  return bytes
}

export async function benchBase(workplace: Workplace): Promise<Figure[]> {
  const { say, tools, pairs, folder } = workplace.options
  const dump = async (compression: string): Promise<{ seconds: number; bytes: number }> => {
    const out = join(folder, 'dump')
    await rm(out, { recursive: true, force: true })
    const seconds = await timed(join(tools, 'pg_dump'), [
      '-Fd',
      '-j2',
      `--compress=${compression}`,
      '-n',
      'public',
      '-f',
      out,
      '-d',
      workplace.url,
    ])
    return { seconds, bytes: await bytesIn(out) }
  }
  const zstd = await dump('zstd:3').then(
    () => true,
    () => false,
  )
  const ours: number[] = []
  const gzips: number[] = []
  const zstds: number[] = []
  let bytes = 0
  let gzipBytes = 0
  await workplace.prepareStream()
  for (let i = 0; i < pairs; i++) {
    const gzip = await dump('gzip')
    gzips.push(gzip.seconds)
    gzipBytes = gzip.bytes
    if (zstd) zstds.push((await dump('zstd:3')).seconds)
    const backup = await workplace.freshBackup('bench')
    const { stdout } = await run(process.execPath, [
      new URL('./base-child.ts', import.meta.url).pathname,
      backup.storeUrl,
      backup.keys,
      workplace.url,
    ])
    const own = JSON.parse(stdout.trim().split('\n').at(-1)!) as {
      seconds: number
      bytes: number
      rows: number
      peakBytes: number
      cpu: { user: number; system: number }
    }
    await rm(backup.storeUrl, { recursive: true, force: true })
    await rm(backup.keys, { recursive: true, force: true })
    ours.push(own.seconds)
    bytes = own.bytes
    say(
      `base: ours ${own.seconds.toFixed(2)} s (cpu ${((own.cpu.user + own.cpu.system) / 1e6).toFixed(1)} s, ${(own.peakBytes / 1e6).toFixed(0)} MB, ${own.rows} rows, ${(own.bytes / 1e6).toFixed(1)} MB), gzip ${gzip.seconds.toFixed(2)} s (${(gzip.bytes / 1e6).toFixed(1)} MB), zstd ${zstds.at(-1)?.toFixed(2) ?? 'not in this pg_dump'}`,
    )
  }
  const toGzip = gzips.map((g, i) => ours[i]! / g)
  const toZstd = zstds.map((z, i) => ours[i]! / z)
  const figures: Figure[] = [
    {
      what: 'base of the 3 million row database, encrypted',
      against: `pg_dump -Fd -j2 gzip, ${median(gzips).toFixed(1)} s (${spread(gzips)})`,
      measured: `${median(ours).toFixed(1)} s (${spread(ours)}): ${median(toGzip).toFixed(2)} times`,
      reach: 'faster',
      reached: median(toGzip) < 1,
    },
  ]
  if (zstd)
    figures.push({
      what: 'the same',
      against: `pg_dump -Fd -j2 zstd, ${median(zstds).toFixed(1)} s (${spread(zstds)})`,
      measured: `${median(toZstd).toFixed(2)} times (${spread(toZstd)})`,
      reach: 'at most 1.3 times',
      reached: median(toZstd) <= 1.3,
    })
  figures.push({
    what: 'bytes of the base',
    against: `gzip's ${(gzipBytes / 1e6).toFixed(1)} MB`,
    measured: `${(bytes / 1e6).toFixed(1)} MB: ${(bytes / gzipBytes).toFixed(2)} times`,
    reach: 'at most 1.1 times',
    reached: bytes / gzipBytes <= 1.1,
  })
  return figures
}
