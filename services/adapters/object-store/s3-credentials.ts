/** Where the client takes its keys from. */
import type { Agent } from 'node:https'
import { CredentialProvider } from 'minio/dist/esm/CredentialProvider.mjs'
import { Credentials } from 'minio/dist/esm/Credentials.mjs'
import { IamAwsProvider } from 'minio/dist/esm/minio.mjs'
import { TidemarkError } from '../../core/errors.ts'
import { CREDENTIALS_MS, keysOfFile } from './store-credentials.ts'

/** Keys in a file, read again after a while: renewing them needs no restart. */
export class FileProvider extends CredentialProvider {
  readonly #file: string
  readonly #profile: string
  #held: { readonly credentials: Credentials; readonly at: number } | undefined

  constructor(file: string, profile: string) {
    super({ accessKey: '', secretKey: '' })
    this.#file = file
    this.#profile = profile
  }

  override async getCredentials(): Promise<Credentials> {
    if (this.#held !== undefined && performance.now() - this.#held.at < CREDENTIALS_MS)
      return this.#held.credentials
    const { accessKey, secretKey, sessionToken } = await keysOfFile(this.#file, this.#profile)
    const credentials = new Credentials({
      accessKey,
      secretKey,
      ...(sessionToken === undefined ? {} : { sessionToken }),
    })
    this.#held = { credentials, at: performance.now() }
    return credentials
  }
}

/** The environment's keys, else the machine's or the pod's role, which the client renews by itself. */
export class AmbientProvider extends CredentialProvider {
  readonly #role: IamAwsProvider

  constructor(agent: Agent | undefined) {
    super({ accessKey: '', secretKey: '' })
    this.#role = new IamAwsProvider(agent === undefined ? {} : { transportAgent: agent })
  }

  override async getCredentials(): Promise<Credentials> {
    const {
      AWS_ACCESS_KEY_ID: accessKey,
      AWS_SECRET_ACCESS_KEY: secretKey,
      AWS_SESSION_TOKEN: sessionToken,
    } = process.env
    if (accessKey !== undefined && secretKey !== undefined)
      return new Credentials({
        accessKey,
        secretKey,
        ...(sessionToken === undefined ? {} : { sessionToken }),
      })
    try {
      return await this.#role.getCredentials()
    } catch (error) {
      throw new TidemarkError(
        'STORE_REFUSED',
        'no credentials for S3: neither a file (credentials=FILE), nor AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, nor a role of this machine',
        { cause: error },
      )
    }
  }
}
