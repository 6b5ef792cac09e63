/**
 * A recipient whose key lies in the transit engine of Vault or OpenBao (HTTP API, "Transit secrets engine"): a writer needs `update` on
 * MOUNT/encrypt/KEY and no more, a restore on MOUNT/decrypt/KEY. The context is bound as associated data. The token is read from its
 * file at each use, so that whoever renews it needs no restart.
 */
import { readFile } from 'node:fs/promises'
import materials from '@aws-crypto/material-management-node'
import type { NodeDecryptionMaterial, NodeEncryptionMaterial } from '@aws-crypto/material-management-node'
import canonicalizeModule from 'canonicalize'
import { z } from 'zod'

const { EncryptedDataKey, KeyringNode, KeyringTraceFlag, unwrapDataKey } = materials
const canonicalize = canonicalizeModule as unknown as (value: unknown) => string | undefined

export interface VaultRecipient {
  readonly kind: 'vault'
  readonly name: string
  readonly address: string
  readonly mount: string
  readonly key: string
  /** VAULT_TOKEN where it is not given. */
  readonly tokenFile: string | undefined
  readonly mayOpen: boolean
}

const PROVIDER = 'tidemark-vault-transit'
const TRY_MS = 10_000
const answer = z.object({
  data: z.object({ ciphertext: z.string().optional(), plaintext: z.string().optional() }),
})

class VaultAnswer extends Error {
  readonly status: number

  constructor(status: number) {
    super(`Vault answers ${status}`)
    this.status = status
  }
}

export class VaultKeyring extends KeyringNode {
  readonly #recipient: VaultRecipient
  readonly #onFailure: (error: unknown) => void

  /** @param onFailure told of what the service answered, which the format's library keeps to itself */
  constructor(recipient: VaultRecipient, onFailure: (error: unknown) => void) {
    super()
    this.#recipient = recipient
    this.#onFailure = onFailure
  }

  async _onEncrypt(material: NodeEncryptionMaterial): Promise<NodeEncryptionMaterial> {
    const secret = unwrapDataKey(material.getUnencryptedDataKey())
    const { ciphertext } = await this.#call(
      'encrypt',
      { plaintext: Buffer.from(secret).toString('base64') },
      material.encryptionContext,
    )
    const { name } = this.#recipient
    const wrapped = new EncryptedDataKey({
      providerId: PROVIDER,
      providerInfo: name,
      encryptedDataKey: Buffer.from(ciphertext ?? '', 'utf8'),
    })
    return material.addEncryptedDataKey(
      wrapped,
      KeyringTraceFlag.WRAPPING_KEY_ENCRYPTED_DATA_KEY | KeyringTraceFlag.WRAPPING_KEY_SIGNED_ENC_CTX,
    )
  }

  async _onDecrypt(
    material: NodeDecryptionMaterial,
    wrapped: InstanceType<typeof EncryptedDataKey>[],
  ): Promise<NodeDecryptionMaterial> {
    const { name } = this.#recipient
    for (const { providerId, providerInfo, encryptedDataKey } of wrapped) {
      if (providerId !== PROVIDER || providerInfo !== name) continue
      const { plaintext } = await this.#call(
        'decrypt',
        { ciphertext: Buffer.from(encryptedDataKey).toString('utf8') },
        material.encryptionContext,
      )
      return material.setUnencryptedDataKey(Uint8Array.from(Buffer.from(plaintext ?? '', 'base64')), {
        keyName: name,
        keyNamespace: PROVIDER,
        flags:
          KeyringTraceFlag.WRAPPING_KEY_DECRYPTED_DATA_KEY | KeyringTraceFlag.WRAPPING_KEY_VERIFIED_ENC_CTX,
      })
    }
    return material
  }

  async #call(
    operation: 'encrypt' | 'decrypt',
    body: object,
    context: Readonly<Record<string, string>>,
  ): Promise<z.infer<typeof answer>['data']> {
    const { address, mount, key, tokenFile } = this.#recipient
    try {
      const token =
        tokenFile === undefined ? process.env['VAULT_TOKEN'] : (await readFile(tokenFile, 'utf8')).trim()
      const associated = Buffer.from(canonicalize(context) ?? '', 'utf8').toString('base64')
      const response = await fetch(new URL(`/v1/${mount}/${operation}/${encodeURIComponent(key)}`, address), {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          'x-vault-request': 'true',
          ...(token === undefined ? {} : { 'x-vault-token': token }),
        },
        body: JSON.stringify({ ...body, associated_data: associated }),
        signal: AbortSignal.timeout(TRY_MS),
        redirect: 'error',
      })
      if (!response.ok) throw new VaultAnswer(response.status)
      const known = answer.safeParse(await response.json())
      if (!known.success) throw new VaultAnswer(response.status)
      return known.data.data
    } catch (error) {
      this.#onFailure(error)
      throw error
    }
  }
}
