"""Privileges, as clients of vCenter name them (vim25 privilege ids), and the first user."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

ADMINISTRATOR: Final = "administrator@vsphere.local"
"""The user of a task that names none. It has the role Admin, which cannot be taken away."""


class Privilege(StrEnum):
    """A privilege of a role. ``Cryptographer.*`` are those of encryption (PRIV-01)."""

    VIEW = "System.View"
    READ = "System.Read"

    ACCESS = "Cryptographer.Access"
    ADD_DISK = "Cryptographer.AddDisk"
    CLONE = "Cryptographer.Clone"
    DECRYPT = "Cryptographer.Decrypt"
    ENCRYPT = "Cryptographer.Encrypt"
    ENCRYPT_NEW = "Cryptographer.EncryptNew"
    MANAGE_ENCRYPTION_POLICY = "Cryptographer.ManageEncryptionPolicy"
    MANAGE_KEY_SERVERS = "Cryptographer.ManageKeyServers"
    MANAGE_KEYS = "Cryptographer.ManageKeys"
    MIGRATE = "Cryptographer.Migrate"
    READ_KEY_SERVERS = "Cryptographer.ReadKeyServersInfo"
    RECRYPT = "Cryptographer.Recrypt"
    REGISTER_HOST = "Cryptographer.RegisterHost"
    REGISTER_VM = "Cryptographer.RegisterVM"

    ADMINISTER_CERTIFICATES = "CertificateManagement.Administer"
    ALARM_ACKNOWLEDGE = "Alarm.Acknowledge"
    MODIFY_PERMISSIONS = "Authorization.ModifyPermissions"
    MODIFY_ROLES = "Authorization.ModifyRoles"
    DIAGNOSTICS = "Global.Diagnostics"
    HOST_CONNECTION = "Host.Config.Connection"
    HOST_MAINTENANCE = "Host.Config.Maintenance"
    HOST_SETTINGS = "Host.Config.Settings"
    HOST_STORAGE = "Host.Config.Storage"
    ADD_HOST = "Host.Inventory.AddHostToCluster"
    ADD_STANDALONE_HOST = "Host.Inventory.AddStandaloneHost"
    EDIT_CLUSTER = "Host.Inventory.EditCluster"
    REMOVE_HOST = "Host.Inventory.RemoveHostFromCluster"
    MANAGE_USER_GROUPS = "Host.Local.ManageUserGroups"
    TPM_READ = "Host.Tpm.Read"
    TPM_UNSEAL = "Host.Tpm.Unseal"
    COLD_MIGRATE = "Resource.ColdMigrate"
    HOT_MIGRATE = "Resource.HotMigrate"

    ADD_NEW_DISK = "VirtualMachine.Config.AddNewDisk"
    ADD_REMOVE_DEVICE = "VirtualMachine.Config.AddRemoveDevice"
    REMOVE_DISK = "VirtualMachine.Config.RemoveDisk"
    VM_SETTINGS = "VirtualMachine.Config.Settings"
    POWER_OFF = "VirtualMachine.Interact.PowerOff"
    POWER_ON = "VirtualMachine.Interact.PowerOn"
    CREATE_VM = "VirtualMachine.Inventory.Create"
    CREATE_FROM_EXISTING = "VirtualMachine.Inventory.CreateFromExisting"
    DELETE_VM = "VirtualMachine.Inventory.Delete"
    REGISTER = "VirtualMachine.Inventory.Register"
    UNREGISTER = "VirtualMachine.Inventory.Unregister"
    CLONE_VM = "VirtualMachine.Provisioning.Clone"
    CLONE_TEMPLATE = "VirtualMachine.Provisioning.CloneTemplate"
    MARK_AS_TEMPLATE = "VirtualMachine.Provisioning.MarkAsTemplate"
    MARK_AS_VM = "VirtualMachine.Provisioning.MarkAsVM"
    CREATE_SNAPSHOT = "VirtualMachine.State.CreateSnapshot"
    REMOVE_SNAPSHOT = "VirtualMachine.State.RemoveSnapshot"
    REVERT_SNAPSHOT = "VirtualMachine.State.RevertToSnapshot"

    CONFIGURE_HOST_CERTIFICATES = "TrustedAdmin.ConfigureHostCertificates"
    CONFIGURE_HOST_METADATA = "TrustedAdmin.ConfigureHostMetadata"
    CONFIGURE_TOKEN_CONVERSION_POLICY = "TrustedAdmin.ConfigureTokenConversionPolicy"
    MANAGE_ATTESTING_SSO = "TrustedAdmin.ManageAttestingSSO"
    MANAGE_KMS_TRUST = "TrustedAdmin.ManageKMSTrust"
    MANAGE_TRUSTED_HOSTS = "TrustedAdmin.ManageTrustedHosts"
    READ_ATTESTING_SSO = "TrustedAdmin.ReadAttestingSSO"
    READ_KMS_TRUST = "TrustedAdmin.ReadKMSTrust"
    READ_STS_INFO = "TrustedAdmin.ReadStsInfo"
    READ_TRUSTED_HOSTS = "TrustedAdmin.ReadTrustedHosts"
    RETRIEVE_HOST_METADATA = "TrustedAdmin.RetrieveHostMetadata"
    RETRIEVE_TPM_HOST_CERTIFICATES = "TrustedAdmin.RetrieveTPMHostCertificates"

    @property
    def group(self) -> str:
        """The part before the first dot, such as ``Cryptographer``."""
        return self.value.partition(".")[0]
