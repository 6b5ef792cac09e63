/** Object stores for one test file: an S3 server with TLS under an own authority, and Azurite. */
import { randomBytes } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { Agent } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { BlobServiceClient, StorageSharedKeyCredential } from '@azure/storage-blob'
import { Client } from 'minio/dist/esm/minio.mjs'
import { localCertificate } from './certificate.ts'
import { ACCOUNT, ACCOUNT_KEY, Azurite } from './parts/azurite.ts'
import { Minio, whyNoMinio } from './parts/minio.ts'

export const NO_S3 = whyNoMinio()
if (NO_S3 !== undefined) console.log(`S3 is not tested here: ${NO_S3}`)

const USER = 'tidemark'

export interface S3Bench extends AsyncDisposable {
  readonly minio: Minio
  readonly folder: string
  readonly password: string
  readonly certificate: { readonly cert: string; readonly key: string }
  readonly caFile: string
  readonly credentialsFile: string
  /** The administrator's own client. */
  readonly client: Client
  /** Makes a bucket and gives the URL of a store in it; `through` is a proxy's port. */
  bucket(options?: {
    readonly objectLock?: boolean
    readonly through?: number
    readonly query?: string
  }): Promise<{ readonly name: string; readonly url: string }>
}

/** @param inside where its data lies */
export async function startS3(inside: string = tmpdir()): Promise<S3Bench> {
  const folder = await mkdtemp(join(inside, 'tidemark-s3-'))
  const password = randomBytes(12).toString('hex')
  const certificate = await localCertificate()
  const minio = await Minio.create({ folder: join(folder, 'minio'), user: USER, password, certificate })
  await minio.start()
  const caFile = join(folder, 'ca.pem')
  const credentialsFile = join(folder, 'credentials')
  await writeFile(caFile, certificate.cert)
  await writeFile(
    credentialsFile,
    `[default]\naws_access_key_id = ${USER}\naws_secret_access_key = ${password}\n`,
    { mode: 0o600 },
  )
  const client = new Client({
    endPoint: '127.0.0.1',
    port: minio.port,
    useSSL: true,
    accessKey: USER,
    secretKey: password,
    transportAgent: new Agent({ ca: certificate.cert }),
  })
  return {
    minio,
    folder,
    password,
    certificate,
    caFile,
    credentialsFile,
    client,
    async bucket(options = {}) {
      const name = `b${randomBytes(6).toString('hex')}`
      await client.makeBucket(name, 'us-east-1', { ObjectLocking: options.objectLock === true })
      const endpoint = `https://127.0.0.1:${options.through ?? minio.port}`
      return {
        name,
        url: `s3://${name}/chat?endpoint=${encodeURIComponent(endpoint)}&ca=${encodeURIComponent(caFile)}&credentials=${encodeURIComponent(credentialsFile)}${options.query ?? ''}`,
      }
    },
    async [Symbol.asyncDispose]() {
      await minio.kill()
      await rm(folder, { recursive: true, force: true })
    },
  }
}

export interface AzureBench extends AsyncDisposable {
  readonly azurite: Azurite
  /** Makes a container and gives the URL of a store in it. */
  container(): Promise<{ readonly name: string; readonly url: string }>
}

/** @param certificate TLS with it */
export async function startAzure(certificate?: {
  readonly cert: string
  readonly key: string
}): Promise<AzureBench> {
  const folder = await mkdtemp(join(tmpdir(), 'tidemark-azure-'))
  const azurite = await Azurite.create(join(folder, 'azurite'), certificate)
  await azurite.start()
  const credentials = join(folder, 'credentials')
  await writeFile(credentials, `azure_storage_account = ${ACCOUNT}\nazure_storage_key = ${ACCOUNT_KEY}\n`, {
    mode: 0o600,
  })
  const service = new BlobServiceClient(
    azurite.endpoint,
    new StorageSharedKeyCredential(ACCOUNT, ACCOUNT_KEY),
    { tlsOptions: { ca: certificate?.cert } } as object,
  )
  return {
    azurite,
    async container() {
      const name = `c${randomBytes(6).toString('hex')}`
      await service.createContainer(name)
      return {
        name,
        url: `azblob://${name}/chat?endpoint=${encodeURIComponent(azurite.endpoint)}&credentials=${encodeURIComponent(credentials)}`,
      }
    },
    async [Symbol.asyncDispose]() {
      await azurite.stop()
      await rm(folder, { recursive: true, force: true })
    },
  }
}
