/** The `minio` client as S3 stores use it: without tries of its own, and with sockets that do not wait for ever. */
import { Client } from 'minio/dist/esm/minio.mjs'
import { AmbientProvider, FileProvider } from './s3-credentials.ts'
import { TimedAgent, TimedPlainAgent } from './timed-agent.ts'

export interface S3Place {
  /** http or https, host, port; AWS's own where it is not given. */
  readonly endpoint: string | undefined
  readonly region: string
  /** Bucket in the path; else in the name of the host. */
  readonly pathStyle: boolean
  /** PEM of an own certificate authority. */
  readonly ca: string | undefined
  /** A file with credentials; the environment, or the machine's role, where it is not given. */
  readonly credentials: { readonly file: string; readonly profile: string } | undefined
}

/** One PUT takes this much; no object of ours comes near it. */
const LARGEST_PUT = 5 * 1024 ** 3

export function endpointOf({ endpoint, region }: S3Place): URL {
  return new URL(endpoint ?? `https://s3.${region}.amazonaws.com`)
}

export function connectS3(
  place: S3Place,
  agent: TimedAgent | TimedPlainAgent,
  /** Of one request, ms. */
  silenceMs: number,
): Client {
  const { region, pathStyle, credentials } = place
  const url = endpointOf(place)
  const isSecure = url.protocol === 'https:'
  return new Client({
    endPoint: url.hostname,
    ...(url.port === '' ? {} : { port: Number(url.port) }),
    useSSL: isSecure,
    region,
    pathStyle,
    partSize: LARGEST_PUT,
    // Its own tries write to the terminal.
    retryOptions: { disableRetry: true },
    transportAgent: agent,
    credentialsProvider:
      credentials === undefined
        ? new AmbientProvider(isSecure ? new TimedAgent({}, silenceMs) : undefined)
        : new FileProvider(credentials.file, credentials.profile),
  })
}

/** @param onSocket told of each new connection before it is there */
export function agentFor(
  place: S3Place,
  maxSockets: number,
  silenceMs: number,
  onSocket?: ConstructorParameters<typeof TimedAgent>[2],
): TimedAgent | TimedPlainAgent {
  const kept = { keepAlive: true, maxSockets }
  return endpointOf(place).protocol === 'https:'
    ? new TimedAgent({ ...kept, ...(place.ca === undefined ? {} : { ca: place.ca }) }, silenceMs, onSocket)
    : new TimedPlainAgent(kept, silenceMs, onSocket)
}
