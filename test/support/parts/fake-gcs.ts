/** fake-gcs-server, which speaks the JSON interface of Google Cloud Storage. */
import { freePort } from '../../../services/demo/embedded-postgres.ts'
import { type GoProgram, startProgram, stopProgram, whyNoProgram } from './go-program.ts'

const FAKE_GCS: GoProgram = {
  name: 'fake-gcs-server',
  module: 'github.com/fsouza/fake-gcs-server',
  version: 'v1.56.1',
}

export const NO_GCS = whyNoProgram(FAKE_GCS)
if (NO_GCS !== undefined) console.log(`Google Cloud Storage is not tested here: ${NO_GCS}`)

export interface GcsBench extends AsyncDisposable {
  readonly endpoint: string
  bucket(options?: {
    readonly versioning?: boolean
  }): Promise<{ readonly name: string; readonly url: string }>
}

export async function startGcs(folder: string): Promise<GcsBench> {
  const port = await freePort()
  const endpoint = `http://127.0.0.1:${port}`
  const child = await startProgram(
    FAKE_GCS,
    [
      '-scheme',
      'http',
      '-host',
      '127.0.0.1',
      '-port',
      String(port),
      '-public-host',
      `127.0.0.1:${port}`,
      '-backend',
      'memory',
    ],
    { folder, url: `${endpoint}/_internal/healthcheck` },
  )
  let made = 0
  return {
    endpoint,
    async bucket(options = {}) {
      const name = `b${process.pid}-${++made}`
      const answer = await fetch(`${endpoint}/storage/v1/b?project=test`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ name, versioning: { enabled: options.versioning === true } }),
      })
      if (!answer.ok) throw new Error(await answer.text())
      return { name, url: `gs://${name}/chat?endpoint=${encodeURIComponent(endpoint)}` }
    },
    [Symbol.asyncDispose]: () => stopProgram(child),
  }
}
