/** Bearer tokens for Kafka's SASL OAUTHBEARER (KIP-768), by the client credentials grant (RFC 6749, section 4.4). */
import {
  allowInsecureRequests,
  clientCredentialsGrantRequest,
  ClientSecretBasic,
  processClientCredentialsResponse,
} from 'oauth4webapi'
import type { Clock } from '../../../core/clock.ts'
import { TidemarkError } from '../../../core/errors.ts'
import { isMistake } from '../../../core/mistake.ts'

export interface TokenSettings {
  /** https, or http to a loopback address. */
  readonly tokenUrl: string
  readonly clientId: string
  readonly clientSecret: string
  readonly scope: string | undefined
}

const TIMEOUT_MS = 15_000
/** Of a token's life: another is fetched before a broker can refuse it. */
const USED_SHARE = 0.8
/** Where the answer does not say how long a token lives. */
const LIFE_S = 300

/** A function that gives a valid token: the same one to all connections, until most of its life is over. */
export function bearerTokens(settings: TokenSettings, clock: Clock): () => Promise<{ value: string }> {
  let held: { readonly token: Promise<{ value: string; life: number }>; readonly at: number } | undefined
  return async () => {
    if (held !== undefined) {
      const { value, life } = await held.token
      if (clock.elapsed() - held.at < life * USED_SHARE) return { value }
    }
    const asked = { token: fetchToken(settings), at: clock.elapsed() }
    held = asked
    asked.token.catch(() => {
      if (held === asked) held = undefined
    })
    return { value: (await asked.token).value }
  }
}

async function fetchToken({
  tokenUrl,
  clientId,
  clientSecret,
  scope,
}: TokenSettings): Promise<{ value: string; life: number }> {
  const url = new URL(tokenUrl)
  const server = { issuer: url.origin, token_endpoint: tokenUrl }
  const client = { client_id: clientId }
  const isLoopback = ['127.0.0.1', '[::1]', 'localhost'].includes(url.hostname)
  try {
    const response = await clientCredentialsGrantRequest(
      server,
      client,
      ClientSecretBasic(clientSecret),
      scope === undefined ? {} : { scope },
      { [allowInsecureRequests]: isLoopback, signal: AbortSignal.timeout(TIMEOUT_MS) },
    )
    const { access_token, expires_in } = await processClientCredentialsResponse(server, client, response)
    return { value: access_token, life: (expires_in ?? LIFE_S) * 1000 }
  } catch (error) {
    if (isMistake(error)) throw error
    // An answer of the server is a refusal; anything else may pass.
    const refused =
      error instanceof Error && 'status' in error && typeof error.status === 'number' && error.status < 500
    throw new TidemarkError(
      refused ? 'LOG_REFUSED' : 'LOG_UNREACHABLE',
      refused ? `the token server ${url.host} refuses client ${clientId}` : `no token from ${url.host}`,
      { cause: error },
    )
  }
}
