"""Event ids of vCenter 7.0 U3 and 8.0 U3, spelled as the product spells them."""

from __future__ import annotations

from enum import StrEnum

_VC = "com.vmware.vc."


class EventTypeId(StrEnum):
    """The full id of an EventEx; note that ``Crypto`` and ``crypto`` both occur."""

    VM_LOCKED_KEY_MISSING_ON_HOST = _VC + "vm.Crypto.VMLocked.KeyMissingOnHost"
    VM_LOCKED_KEY_MISSING_ON_KMS = _VC + "vm.Crypto.VMLocked.KeyMissingOnKMS"
    VM_LOCKED_KMS_CLUSTER_ERROR = _VC + "vm.Crypto.VMLocked.KMSClusterError"
    VM_LOCKED_TA_KEY_MISSING_ON_HOST = _VC + "vm.Crypto.VMLocked.TAKeyMissingOnHost"
    # The product spells it so.
    VM_LOCKED_TA_KMS_CLUSTER_UNAVAILABLE = _VC + "vm.Crypto.VMLocked.TAKMSClusterUnavaliable"
    VM_UNLOCKED = _VC + "vm.Crypto.VMUnlocked"
    VM_REKEY_FAIL = _VC + "vm.crypto.RekeyFail"
    VM_NO_DISK_SPACE = _VC + "vm.crypto.NoDiskSpace"
    VM_DISKCHAIN_USING_MIXED_KEYS = _VC + "vm.crypto.DiskchainUsingMixedKeys"
    HOST_CRYPTO_ENABLED = _VC + "host.Crypto.Enabled"
    HOST_CRYPTO_DISABLED = _VC + "host.Crypto.HostCryptoDisabled"
    HOST_REQ_ENABLE_KEY_MISSING_ON_KMS = _VC + "host.Crypto.ReqEnable.KeyMissingOnKMS"
    HOST_REQ_ENABLE_KMS_CLUSTER_ERROR = _VC + "host.Crypto.ReqEnable.KMSClusterError"
    HOST_NEW_KEY_KEY_MISSING_ON_KMS = _VC + "host.Crypto.HostKey.NewKey.KeyMissingOnKMS"
    HOST_NEW_KEY_KMS_CLUSTER_ERROR = _VC + "host.Crypto.HostKey.NewKey.KMSClusterError"
    HOST_SEND_KEY_ERROR = _VC + "host.Crypto.SendKeyError.HostError"
    KMS_UNREACHABLE = _VC + "kms.crypto.Unreachable"
    KMS_KEY_GENERATE_FAIL = _VC + "kms.crypto.KeyGenerateFail"
    KMS_VENDOR = _VC + "kms.crypto.Vendor"
    KMS_SEND_KEY_ERROR_KEY_MISSING = _VC + "kms.crypto.SendKeyError.KeyMissingOnKMS"
    KMS_SEND_KEY_ERROR_CLUSTER = _VC + "kms.crypto.SendKeyError.KMSClusterError"
    # The product's catalogue has none for it: nobody is told before a host needs the key.
    KMS_KEYS_UNUSABLE = "keystead.kms.crypto.KeysUnusable"
    KMS_NOT_BACKED_UP = _VC + "kms.crypto.NotBackedUp"
    KMS_NOT_BACKED_UP_AFTER_UPDATE = _VC + "kms.crypto.NotBackedUpAfterUpdate"
    KMS_ALL_BACKED_UP = _VC + "kms.crypto.AllBackedUp"
    KMS_TA_CLUSTER_NOT_AVAILABLE = _VC + "kms.crypto.TrustAuthority.ClusterNotAvailable"
    KMS_TA_CLUSTER_UNHEALTHY = _VC + "kms.crypto.TrustAuthority.ClusterUnhealthy"
    TA_HOST_NOT_CONFIGURED = _VC + "TrustAuthority.HostNotConfigured"
    TA_DECOMMISSION_HOST = _VC + "TrustAuthority.DecommissionHost"
    TA_STS_CERTIFICATES_CHANGE = _VC + "TrustAuthority.StsCertificatesChange"
    TA_HOST_ATTEST_PASS = _VC + "TaHostAttestPassEvent"
    TA_HOST_ATTEST_FAIL = _VC + "TaHostAttestFailEvent"
    TA_HOST_ATTEST_UNSET = _VC + "TaHostAttestUnsetEvent"
    CRYPTO_OPERATION = _VC + "crypto.Operation"
    HOST_KEY_UPDATED = _VC + "crypto.HostKeyUpdatedEvent"
    HOST_TPM_CONFIG_ENCRYPTION = _VC + "HostTpmConfigEncryptionEvent"
    HOST_TPM_ENDORSEMENT_KEY_MISMATCH = _VC + "host.TpmEndorsementKeyMismatch"
    VSAN_KMS_CONNECTION = "vsan.health.test.encryption.kmsconnection.event"
    HOST_TPM_ATTESTATION_FAILED = _VC + "host.TPMAttestationFailedEvent"
    DAS_ENABLED = "vim.event.DasEnabledEvent"
    DAS_DISABLED = "vim.event.DasDisabledEvent"
    HA_HOST_FAILED = _VC + "HA.DasHostFailedEvent"
    HA_HOST_ISOLATED = _VC + "HA.DasHostIsolatedEvent"
    VM_RESTARTED_BY_HA = _VC + "ha.VmRestartedByHAEvent"
    VM_FAILOVER_FAILED = "vim.event.VmFailoverFailed"
