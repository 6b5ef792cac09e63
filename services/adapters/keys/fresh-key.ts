/** Makes a message's data key here, and wraps it for nobody: so that a key service is asked to wrap, and needs no right to make keys. */
import { randomBytes } from 'node:crypto'
import materials from '@aws-crypto/material-management-node'
import type { NodeDecryptionMaterial, NodeEncryptionMaterial } from '@aws-crypto/material-management-node'

const { KeyringNode, KeyringTraceFlag } = materials

export class FreshKey extends KeyringNode {
  _onEncrypt(material: NodeEncryptionMaterial): Promise<NodeEncryptionMaterial> {
    if (material.hasUnencryptedDataKey) return Promise.resolve(material)
    return Promise.resolve(
      material.setUnencryptedDataKey(Uint8Array.from(randomBytes(material.suite.keyLengthBytes)), {
        keyName: 'fresh',
        keyNamespace: 'tidemark',
        flags: KeyringTraceFlag.WRAPPING_KEY_GENERATED_DATA_KEY,
      }),
    )
  }

  _onDecrypt(material: NodeDecryptionMaterial): Promise<NodeDecryptionMaterial> {
    return Promise.resolve(material)
  }
}
