/** Kafka behind TLS with an own authority, and its users by SCRAM and by tokens: what works, and what a wrong secret says. */
import { createPrivateKey, generateKeyPairSync, randomUUID, sign } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { KafkaConfig, KafkaLogin } from '../../services/app/config/config.ts'
import { examineLog } from '../../services/app/wiring/compose.ts'
import { Backup, digests, shown } from '../support/backup.ts'
import { localCertificate } from '../support/certificate.ts'
import { type KafkaBench, kafkaSettings, NO_KAFKA, startKafka } from '../support/kafka-bench.ts'

const PASSWORD = `secret-${randomUUID()}`
const SCRAM: KafkaLogin = { mechanism: 'scram-sha-512', username: 'tidemark', password: PASSWORD }

let bench: KafkaBench
let certificate: Awaited<ReturnType<typeof localCertificate>>
let folder: string
let tokens: Server
let tokenUrl: string
let fetched = 0

const segment = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')

/** A token server: the client credentials grant, with tokens that are to be used for `life` seconds. */
async function serveTokens(key: string, life: number): Promise<void> {
  tokens = createServer((request, response) => {
    const answer = (status: number, body: object): void =>
      void response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
    // Both parts are form-encoded before they are put together (RFC 6749, section 2.3.1).
    const given = Buffer.from((request.headers.authorization ?? '').replace('Basic ', ''), 'base64')
      .toString()
      .split(':')
      .map(decodeURIComponent)
    if (given.join(':') !== `tidemark:${PASSWORD}`) return answer(401, { error: 'invalid_client' })
    fetched++
    const now = Math.floor(Date.now() / 1000)
    const head = `${segment({ alg: 'RS256', typ: 'JWT', kid: 'k' })}.${segment({ sub: 'tidemark', iss: 'test', aud: 'kafka', iat: now, exp: now + 60 })}`
    answer(200, {
      access_token: `${head}.${sign('sha256', Buffer.from(head), createPrivateKey(key)).toString('base64url')}`,
      token_type: 'bearer',
      expires_in: life,
    })
  })
  await new Promise<void>((resolve) => tokens.listen(0, '127.0.0.1', resolve))
  const address = tokens.address()
  tokenUrl = `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}/token`
}

describe.skipIf(NO_KAFKA !== undefined)('a secured Kafka', () => {
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tidemark-secured-'))
    certificate = await localCertificate()
    const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
    const jwks = join(folder, 'jwks.json')
    await writeFile(
      jwks,
      JSON.stringify({
        keys: [{ ...publicKey.export({ format: 'jwk' }), kid: 'k', use: 'sig', alg: 'RS256' }],
      }),
    )
    await serveTokens(privateKey.export({ format: 'pem', type: 'pkcs8' }).toString(), 6)
    const line = (text: string): string => text.trim().replaceAll('\n', '\\n')
    const oauth = 'listener.name.second.oauthbearer'
    bench = await startKafka({
      second: { protocol: 'SASL_SSL' },
      users: { tidemark: PASSWORD },
      jvm: [
        `-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls=file://${jwks}`,
        `-Dorg.apache.kafka.sasl.oauthbearer.allowed.files=${jwks}`,
      ],
      settings: {
        'listener.name.second.ssl.keystore.type': 'PEM',
        'listener.name.second.ssl.keystore.key': line(certificate.key),
        'listener.name.second.ssl.keystore.certificate.chain': line(certificate.cert),
        'listener.name.second.sasl.enabled.mechanisms': 'SCRAM-SHA-512,OAUTHBEARER',
        'listener.name.second.scram-sha-512.sasl.jaas.config':
          'org.apache.kafka.common.security.scram.ScramLoginModule required;',
        [`${oauth}.sasl.jaas.config`]:
          'org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required;',
        [`${oauth}.sasl.server.callback.handler.class`]:
          'org.apache.kafka.common.security.oauthbearer.OAuthBearerValidatorCallbackHandler',
        [`${oauth}.sasl.oauthbearer.jwks.endpoint.url`]: `file://${jwks}`,
        [`${oauth}.sasl.oauthbearer.expected.audience`]: 'kafka',
        [`${oauth}.sasl.oauthbearer.expected.issuer`]: 'test',
        // Connections have to log in again: kafkajs does so 10 s before the end.
        'connections.max.reauth.ms': '13000',
      },
    })
  }, 300_000)
  afterAll(async () => {
    await bench[Symbol.asyncDispose]()
    tokens.close()
    await rm(folder, { recursive: true, force: true })
  })

  const secured = (
    prefix: string,
    sasl: KafkaLogin,
    ca: string | undefined = certificate.cert,
  ): KafkaConfig =>
    kafkaSettings(bench, prefix, {
      brokers: bench.kafka.brokers.map((broker) => `127.0.0.1:${broker.secondPort}`),
      tls: { ca },
      sasl,
    })
  const oauth = (clientSecret: string): KafkaLogin => ({
    mechanism: 'oauthbearer',
    tokenUrl,
    clientId: 'tidemark',
    clientSecret,
    scope: 'kafka',
  })

  async function backsUp(prefix: string, sasl: KafkaLogin, forMs: number): Promise<void> {
    await using backup = await Backup.prepare({ setup: 'CREATE TABLE m (id int PRIMARY KEY, v text)' })
    await backup.init()
    await backup.up({ kafka: secured(prefix, sasl) })
    const until = performance.now() + forMs
    for (let i = 0; performance.now() < until || i === 0; i++) {
      await backup.source.query(`INSERT INTO m VALUES (${i}, 'x')`)
      await backup.durable()
      await backup.guard(new Promise((resolve) => setTimeout(resolve, 200)))
    }
    expect(shown(await digests((await backup.restore('latest')).url))).toEqual(
      shown(await digests(backup.sourceUrl)),
    )
  }

  test('TLS with an own authority and SCRAM-SHA-512', () => backsUp('scram', SCRAM, 0))

  test('tokens by client credentials, renewed while connections last', async () => {
    await backsUp('oauth', oauth(PASSWORD), 14_000)
    expect(fetched).toBeGreaterThan(2)
  })

  test.each([
    [
      'a wrong password',
      () => secured('wrong', { ...SCRAM, password: `not-${PASSWORD}` }),
      'LOG_REFUSED',
      /SASL_AUTHENTICATION_FAILED/,
    ],
    [
      'a wrong client secret',
      () => secured('wrong', oauth(`not-${PASSWORD}`)),
      'LOG_REFUSED',
      /token server .* refuses/,
    ],
    [
      'a certificate that nobody vouches for',
      () => kafkaSettings(bench, 'wrong', { ...secured('wrong', SCRAM), tls: { ca: undefined } }),
      'LOG_REFUSED',
      /certificate/,
    ],
  ])('%s: doctor says so, without the secret', async (_, settings, code, says) => {
    const findings = await examineLog({ kafka: settings() })
    expect(findings.map((finding) => finding.code)).toEqual([code])
    expect(JSON.stringify(findings)).not.toContain(PASSWORD)
    expect(findings[0]!.what).toMatch(says)
  })
})
