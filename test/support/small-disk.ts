/** A disk of so many megabytes, on which room can be taken and given back. */
import { execFileSync } from 'node:child_process'
import { chownSync, closeSync, mkdtempSync, openSync, rmSync, statSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'

export const NO_SMALL_DISK = 'a small tmpfs cannot be mounted here (needs root)'

export class SmallDisk implements Disposable {
  readonly folder: string

  private constructor(folder: string) {
    this.folder = folder
  }

  /** @returns undefined where none can be mounted */
  static mount(megabytes: number): SmallDisk | undefined {
    const folder = mkdtempSync(join(tmpdir(), 'tidemark-small-'))
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m,mode=777`, 'tmpfs', folder], {
        stdio: 'ignore',
      })
    } catch {
      rmSync(folder, { recursive: true })
      return undefined
    }
    return new SmallDisk(folder)
  }

  /** Takes all the room that is left. @returns the file, to be removed */
  fill(): string {
    const path = join(this.folder, 'ballast')
    const file = openSync(path, 'w')
    try {
      for (const zeros = Buffer.alloc(4096); ; ) writeSync(file, zeros)
    } catch (error) {
      if (!(error instanceof Error) || !('code' in error) || error.code !== 'ENOSPC') throw error
      return path
    } finally {
      closeSync(file)
    }
  }

  resize(megabytes: number): void {
    execFileSync('mount', ['-o', `remount,size=${megabytes}m`, this.folder])
  }

  [Symbol.dispose](): void {
    execFileSync('umount', ['-l', this.folder])
    rmSync(this.folder, { recursive: true, force: true })
  }
}

/** A disk of a server's own, as databases see it: what is in it goes with it. */
export class Tablespace implements AsyncDisposable {
  readonly name: string
  readonly #server: string

  private constructor(name: string, server: string) {
    this.name = name
    this.#server = server
  }

  static async make(server: string, disk: SmallDisk): Promise<Tablespace> {
    const name = `small_${process.pid}`
    await asked(server, async (admin) => {
      const { rows } = await admin.query<{ data_directory: string }>('SHOW data_directory')
      const { uid, gid } = statSync(rows[0]!.data_directory)
      chownSync(disk.folder, uid, gid)
      await admin.query(`CREATE TABLESPACE ${name} LOCATION '${disk.folder}'`)
    })
    return new Tablespace(name, server)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await asked(this.#server, async (admin) => {
      const { rows } = await admin.query<{ datname: string }>(
        'SELECT datname FROM pg_database d JOIN pg_tablespace t ON t.oid = d.dattablespace WHERE spcname = $1',
        [this.name],
      )
      // The room goes back before the tablespace does.
      for (const { datname } of rows) await admin.query(`DROP DATABASE ${datname} WITH (FORCE)`)
      await admin.query(`DROP TABLESPACE ${this.name}`)
    })
  }
}

async function asked(server: string, action: (admin: pg.Client) => Promise<void>): Promise<void> {
  const admin = new pg.Client(server)
  await admin.connect()
  try {
    await action(admin)
  } finally {
    await admin.end()
  }
}
