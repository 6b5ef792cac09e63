/**
 * A recipient whose key lies in AWS KMS: wrapped as every implementation of the AWS Encryption SDK's format does. A writer needs
 * kms:Encrypt on the key and no more, a restore kms:Decrypt. Credentials are the AWS SDK's own (environment, file, role).
 */
import { KmsKeyringNode, type KmsNodeClientSupplier } from '@aws-crypto/kms-keyring-node'
import type { KeyringNode } from '@aws-crypto/material-management-node'
import { KMS } from '@aws-sdk/client-kms'

export interface KmsRecipient {
  readonly kind: 'kms'
  readonly name: string
  /** The key's ARN, which names its region. */
  readonly arn: string
  /** Another server than AWS' own. */
  readonly endpoint: string | undefined
  /** Of this side; what the credentials may, only the service knows. */
  readonly mayOpen: boolean
}

const TRY_MS = 10_000

/** @param onFailure told of what the service answered, which the format's library keeps to itself */
export function kmsKeyring(
  { arn, endpoint }: KmsRecipient,
  onFailure: (error: unknown) => void,
): KeyringNode {
  const told =
    <I, O>(call: (input: I) => Promise<O>) =>
    async (input: I): Promise<O> => {
      try {
        return await call(input)
      } catch (error) {
        onFailure(error)
        throw error
      }
    }
  return new KmsKeyringNode({
    keyIds: [arn],
    clientProvider: (region) => {
      const client = new KMS({
        region,
        ...(endpoint === undefined ? {} : { endpoint }),
        maxAttempts: 3,
        requestHandler: { requestTimeout: TRY_MS, connectionTimeout: TRY_MS },
      })
      return {
        encrypt: told(client.encrypt.bind(client)),
        decrypt: told(client.decrypt.bind(client)),
        generateDataKey: told(client.generateDataKey.bind(client)),
      } as unknown as Extract<ReturnType<KmsNodeClientSupplier>, object>
    },
  })
}
