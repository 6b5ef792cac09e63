/** Apicurio Registry from Maven's registry, with its Confluent-compatible interface; storage in memory. */
import { mkdir } from 'node:fs/promises'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { freePort } from '../../../services/demo/embedded-postgres.ts'
import { JavaProcess } from './java-process.ts'
import { fetchArchive } from './maven.ts'

export const VERSION = '3.0.9'

export class Registry {
  readonly url: string
  readonly process: JavaProcess

  private constructor(url: string, process: JavaProcess) {
    this.url = url
    this.process = process
  }

  static async create(folder: string): Promise<Registry> {
    const home = await fetchArchive(
      `apicurio-${VERSION}`,
      { group: 'io.apicurio', artifact: 'apicurio-registry-app', version: VERSION },
      'all',
    )
    const jar = readdirSync(home).find((name) => name.endsWith('-runner.jar'))
    if (jar === undefined) throw new Error(`no runnable jar in ${home}`)
    await mkdir(folder, { recursive: true })
    const port = await freePort()
    const env = {
      QUARKUS_HTTP_HOST: '127.0.0.1',
      QUARKUS_HTTP_PORT: String(port),
      APICURIO_STORAGE_KIND: 'sql',
      APICURIO_STORAGE_SQL_KIND: 'h2',
      QUARKUS_LOG_LEVEL: 'WARN',
      LOG_LEVEL: 'WARN',
      APICURIO_LOG_LEVEL: 'WARN',
    }
    return new Registry(
      `http://127.0.0.1:${port}/apis/ccompat/v7`,
      new JavaProcess({
        args: [
          '-Xms64m',
          '-Xmx256m',
          '-XX:+UseSerialGC',
          '-XX:TieredStopAtLevel=1',
          '-Xshare:auto',
          '-jar',
          jar,
        ],
        cwd: home,
        log: join(folder, 'registry.log'),
        env,
      }),
    )
  }

  start(): Promise<void> {
    return this.process.start(async () => {
      const answer = await fetch(`${this.url}/subjects`)
      if (!answer.ok) throw new Error(`status ${answer.status}`)
    })
  }
}
