"""Opens a Tidemark store without Tidemark: aws-encryption-sdk for the messages, fastavro for the rows.

usage: open_backup.py STORE KEYS      prints every stored row as a JSON line
"""
import glob, io, json, math, os, sys

import aws_encryption_sdk
import fastavro
from aws_encryption_sdk.identifiers import CommitmentPolicy, EncryptionKeyType, WrappingAlgorithm
from aws_encryption_sdk.internal.crypto.wrapping_keys import WrappingKey
from aws_encryption_sdk.key_providers.raw import RawMasterKeyProvider

store, keys = sys.argv[1:3]
client = aws_encryption_sdk.EncryptionSDKClient(commitment_policy=CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT)


class Keys(RawMasterKeyProvider):
    provider_id = "tidemark"

    def __new__(cls, **kwargs):
        instance = super().__new__(cls)
        instance.wrapping = {}
        return instance

    def _get_raw_key(self, key_id):
        return self.wrapping[key_id.decode() if isinstance(key_id, bytes) else key_id]


def rsa_provider():
    provider = Keys()
    for path in glob.glob(os.path.join(keys, "recipient-*.pem")):
        if path.endswith(".pub.pem"):
            continue
        name = os.path.basename(path)[: -len(".pem")]
        provider.wrapping[name] = WrappingKey(
            wrapping_algorithm=WrappingAlgorithm.RSA_OAEP_SHA256_MGF1, wrapping_key=open(path, "rb").read(), wrapping_key_type=EncryptionKeyType.PRIVATE)
        provider.add_master_key(name)
    return provider


def epoch_provider(recipients):
    provider = Keys()
    for path in glob.glob(os.path.join(store, "keys", "*.key")):
        secret, header = client.decrypt(source=open(path, "rb").read(), key_provider=recipients)
        name = os.path.basename(path)[: -len(".key")]
        assert header.encryption_context["object"] == "keys/" + name + ".key"
        provider.wrapping[name] = WrappingKey(
            wrapping_algorithm=WrappingAlgorithm.AES_256_GCM_IV12_TAG16_NO_PADDING, wrapping_key=secret, wrapping_key_type=EncryptionKeyType.SYMMETRIC)
        provider.add_master_key(name)
    return provider


def plain_json(value):
    if isinstance(value, dict):
        return {name: plain_json(part) for name, part in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value.hex() if isinstance(value, bytes) else value if isinstance(value, (int, float, str, type(None))) else str(value)


provider = epoch_provider(rsa_provider())
for path in sorted(glob.glob(os.path.join(store, "segments", "**", "*.avro"), recursive=True) + glob.glob(os.path.join(store, "base", "**", "*.avro"), recursive=True)):
    plain, header = client.decrypt(source=open(path, "rb").read(), key_provider=provider)
    assert header.encryption_context["object"] == os.path.relpath(path, store)
    for row in fastavro.reader(io.BytesIO(plain)):
        print(json.dumps({"kind": header.encryption_context["kind"], "row": plain_json(row)}))
