"""The requirements of each task (privileges, and a valid VM) in one table; roles, and what the user
of a task may do. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from protocol.authorization import ADMINISTRATOR, Privilege
from protocol.authorization import Privilege as P
from protocol.errors import NoPermission
from protocol.messages.base import Request
from protocol.messages.vcenter import inventory as inventory_messages
from protocol.messages.vcenter import providers, vsan
from protocol.messages.vcenter import providers as provider_messages
from protocol.messages.vcenter import trust as trust_messages
from protocol.messages.vcenter import vms as vm_messages
from protocol.terms import VmName
from protocol.trust import TrustItem
from services.vcenter.tables import PermissionRow, RoleRow, VmRow


@dataclass(frozen=True)
class TaskNeeds:
    """One row of the table."""

    always: tuple[P, ...]
    encrypted: tuple[P, ...] = ()
    on_the_way: tuple[P, ...] = ()
    on_invalid_vm: bool = False
    of_item: Callable[[Any], tuple[P, ...]] | None = None


_ITEMS: Final[Mapping[TrustItem, P]] = {
    TrustItem.PRINCIPAL: P.MANAGE_ATTESTING_SSO,
    TrustItem.CA_CERTIFICATE: P.CONFIGURE_HOST_CERTIFICATES,
    TrustItem.ENDORSEMENT_KEY: P.CONFIGURE_HOST_CERTIFICATES,
    TrustItem.BASE_IMAGE: P.CONFIGURE_HOST_METADATA,
    TrustItem.PROVIDER: P.MANAGE_KMS_TRUST,
}
_READ_ALL_ITEMS: Final = (
    P.READ_TRUSTED_HOSTS,
    P.READ_ATTESTING_SSO,
    P.RETRIEVE_TPM_HOST_CERTIFICATES,
    P.RETRIEVE_HOST_METADATA,
    P.READ_KMS_TRUST,
)


def _import_privileges(message: trust_messages.ImportToTrustAuthority) -> tuple[P, ...]:
    """The privileges by the kinds of items in the message; those of all kinds when it has none,
    which is refused anyway."""
    held = {
        TrustItem.PRINCIPAL: message.principal,
        TrustItem.CA_CERTIFICATE: message.ca_certificate,
        TrustItem.ENDORSEMENT_KEY: message.endorsement_key,
        TrustItem.BASE_IMAGE: message.base_image,
    }
    kinds = [kind for kind, item in held.items() if item is not None] or list(held)
    return tuple(dict.fromkeys(_ITEMS[kind] for kind in kinds))


def _remove_privileges(message: trust_messages.RemoveFromTrustAuthority) -> tuple[P, ...]:
    return (_ITEMS[message.kind],)


_VSAN: Final = (P.EDIT_CLUSTER, P.MANAGE_ENCRYPTION_POLICY, P.MANAGE_KEY_SERVERS, P.MANAGE_KEYS)

NEEDS: Final[Mapping[type[Request[Any]], TaskNeeds]] = {
    # hosts
    inventory_messages.AddHost: TaskNeeds((P.ADD_HOST,)),
    inventory_messages.RemoveHost: TaskNeeds((P.REMOVE_HOST,)),
    inventory_messages.DisconnectHost: TaskNeeds((P.HOST_CONNECTION,)),
    inventory_messages.ReconnectHost: TaskNeeds((P.HOST_CONNECTION,)),
    inventory_messages.EnterMaintenanceMode: TaskNeeds((P.HOST_MAINTENANCE,)),
    inventory_messages.ExitMaintenanceMode: TaskNeeds((P.HOST_MAINTENANCE,)),
    inventory_messages.ConfigureCryptoKey: TaskNeeds((P.REGISTER_HOST,)),
    inventory_messages.PrepareCrypto: TaskNeeds((P.REGISTER_HOST,)),
    inventory_messages.DisableCrypto: TaskNeeds((P.REGISTER_HOST,)),
    inventory_messages.ClearTpmRecord: TaskNeeds((P.HOST_SETTINGS, P.TPM_READ)),
    inventory_messages.AcknowledgeAlarm: TaskNeeds((P.ALARM_ACKNOWLEDGE,)),
    # clusters
    inventory_messages.SetCryptoMode: TaskNeeds((P.EDIT_CLUSTER, P.REGISTER_HOST)),
    inventory_messages.ReconfigureComputeResource: TaskNeeds((P.EDIT_CLUSTER,)),
    vsan.VsanClusterReconfig: TaskNeeds(_VSAN),
    vsan.RekeyEncryptedCluster: TaskNeeds((P.EDIT_CLUSTER, P.MANAGE_KEYS)),
    vsan.CreateVsanObject: TaskNeeds((P.HOST_STORAGE,)),
    vsan.ChangeVsanDisk: TaskNeeds((P.HOST_STORAGE,)),
    vsan.MountVsanDisks: TaskNeeds((P.HOST_STORAGE,)),
    # VMs
    vm_messages.CreateVm: TaskNeeds(
        (P.CREATE_VM,), (P.ENCRYPT_NEW,), (P.REGISTER_HOST,), on_invalid_vm=True
    ),
    vm_messages.RegisterVm: TaskNeeds(
        (P.REGISTER,), on_the_way=(P.REGISTER_VM,), on_invalid_vm=True
    ),
    vm_messages.UnregisterVm: TaskNeeds((P.UNREGISTER,), on_invalid_vm=True),
    vm_messages.DestroyVm: TaskNeeds((P.DELETE_VM,)),
    vm_messages.EncryptVm: TaskNeeds((P.ENCRYPT,), on_the_way=(P.REGISTER_HOST,)),
    vm_messages.RecryptVm: TaskNeeds((P.RECRYPT,), on_the_way=(P.REGISTER_HOST,)),
    vm_messages.DecryptVm: TaskNeeds((P.DECRYPT,)),
    vm_messages.AddDisk: TaskNeeds((P.ADD_NEW_DISK,), (P.ADD_DISK,), (P.REGISTER_HOST,)),
    vm_messages.RemoveDisk: TaskNeeds((P.REMOVE_DISK,)),
    vm_messages.AddVtpm: TaskNeeds(
        (P.ADD_REMOVE_DEVICE, P.ENCRYPT_NEW), on_the_way=(P.REGISTER_HOST,)
    ),
    vm_messages.RemoveVtpm: TaskNeeds((P.ADD_REMOVE_DEVICE,), on_the_way=(P.DECRYPT,)),
    vm_messages.ReconfigVm: TaskNeeds((P.VM_SETTINGS,)),
    vm_messages.CloneVm: TaskNeeds(
        (P.CLONE_VM, P.CREATE_FROM_EXISTING), (P.CLONE,), (P.REGISTER_HOST, P.RECRYPT)
    ),
    vm_messages.MarkAsTemplate: TaskNeeds((P.MARK_AS_TEMPLATE,)),
    vm_messages.MarkAsVirtualMachine: TaskNeeds((P.MARK_AS_VM,)),
    vm_messages.CreateSnapshot: TaskNeeds((P.CREATE_SNAPSHOT,)),
    vm_messages.RemoveSnapshot: TaskNeeds((P.REMOVE_SNAPSHOT,)),
    vm_messages.RevertToSnapshot: TaskNeeds((P.REVERT_SNAPSHOT,)),
    vm_messages.PowerOnVm: TaskNeeds((P.POWER_ON,), on_invalid_vm=True),
    vm_messages.PowerOffVm: TaskNeeds((P.POWER_OFF,), on_invalid_vm=True),
    vm_messages.CryptoUnlock: TaskNeeds((P.REGISTER_VM,), on_invalid_vm=True),
    vm_messages.MigrateVm: TaskNeeds(
        (P.HOT_MIGRATE, P.COLD_MIGRATE), (P.MIGRATE,), (P.REGISTER_HOST,)
    ),
    vm_messages.RelocateVm: TaskNeeds((P.HOT_MIGRATE, P.COLD_MIGRATE), (P.MIGRATE,)),
    vm_messages.PrepareRelocation: TaskNeeds(
        (P.HOT_MIGRATE, P.COLD_MIGRATE, P.CREATE_FROM_EXISTING),
        (P.MIGRATE,),
        (P.REGISTER_HOST,),
        on_invalid_vm=True,
    ),
    # key providers and their keys
    provider_messages.RegisterKmsCluster: TaskNeeds((P.MANAGE_KEY_SERVERS,)),
    providers.RetrieveClientCert: TaskNeeds((P.MANAGE_KEY_SERVERS,)),
    providers.GenerateSelfSignedClientCert: TaskNeeds((P.MANAGE_KEY_SERVERS,)),
    providers.UploadClientCert: TaskNeeds((P.MANAGE_KEY_SERVERS,)),
    providers.GenerateClientCsr: TaskNeeds((P.MANAGE_KEY_SERVERS,)),
    providers.RetrieveClientCsr: TaskNeeds((P.MANAGE_KEY_SERVERS,)),
    providers.UpdateKmsSignedCsrClientCert: TaskNeeds((P.MANAGE_KEY_SERVERS,)),
    providers.LoseClientKey: TaskNeeds((P.MANAGE_KEY_SERVERS,)),
    providers.LoseKmipPasswords: TaskNeeds((P.MANAGE_KEY_SERVERS,)),
    providers.RetrieveKmipServerCert: TaskNeeds((P.MANAGE_KEY_SERVERS,)),
    providers.UploadKmipServerCert: TaskNeeds((P.MANAGE_KEY_SERVERS,)),
    provider_messages.UnregisterKmsCluster: TaskNeeds((P.MANAGE_KEY_SERVERS,)),
    provider_messages.MarkDefault: TaskNeeds((P.MANAGE_KEY_SERVERS,)),
    provider_messages.SetDefaultKmsCluster: TaskNeeds((P.MANAGE_KEY_SERVERS,)),
    provider_messages.CreateNativeProvider: TaskNeeds((P.MANAGE_KEY_SERVERS,)),
    provider_messages.UpdateNativeProvider: TaskNeeds((P.MANAGE_KEY_SERVERS,)),
    provider_messages.OpenTransfer: TaskNeeds((P.MANAGE_KEY_SERVERS,)),
    provider_messages.ExportProvider: TaskNeeds((P.MANAGE_KEY_SERVERS,)),
    provider_messages.DownloadExport: TaskNeeds((P.MANAGE_KEY_SERVERS,)),
    provider_messages.ImportProvider: TaskNeeds((P.MANAGE_KEY_SERVERS,)),
    provider_messages.GenerateKey: TaskNeeds((P.MANAGE_KEYS,)),
    provider_messages.AddKey: TaskNeeds((P.MANAGE_KEYS,)),
    provider_messages.RemoveKey: TaskNeeds((P.MANAGE_KEYS,)),
    provider_messages.ListKeys: TaskNeeds((P.MANAGE_KEYS,)),
    provider_messages.QueryCryptoKeyStatus: TaskNeeds((P.MANAGE_KEYS,)),
    provider_messages.ListKmsClusters: TaskNeeds((P.READ_KEY_SERVERS,)),
    provider_messages.GetDefaultKmsCluster: TaskNeeds((P.READ_KEY_SERVERS,)),
    # Trust Authority: for members of TrustedAdmins (TA-04)
    trust_messages.SetTrustedAdmin: TaskNeeds((P.MODIFY_PERMISSIONS,)),
    trust_messages.EnableTrustAuthority: TaskNeeds((P.MANAGE_TRUSTED_HOSTS,)),
    trust_messages.ImportToTrustAuthority: TaskNeeds((), of_item=_import_privileges),
    trust_messages.SetTpmSettings: TaskNeeds((P.CONFIGURE_HOST_CERTIFICATES,)),
    trust_messages.CreateTrustedKeyProvider: TaskNeeds((P.MANAGE_KMS_TRUST,)),
    trust_messages.TrustKeyServers: TaskNeeds((P.READ_KMS_TRUST, P.MANAGE_KMS_TRUST)),
    trust_messages.RemoveFromTrustAuthority: TaskNeeds((), of_item=_remove_privileges),
    trust_messages.QueryTrustAuthority: TaskNeeds(_READ_ALL_ITEMS),
    trust_messages.QueryTrustedClusters: TaskNeeds((P.READ_TRUSTED_HOSTS,)),
    trust_messages.ExportPrincipal: TaskNeeds((P.READ_STS_INFO,)),
    trust_messages.ExportServicesInformation: TaskNeeds((P.READ_TRUSTED_HOSTS,)),
    # its own signing certificate: no item of a Trust Authority
    trust_messages.RenewStsCertificate: TaskNeeds((P.ADMINISTER_CERTIFICATES,)),
    trust_messages.ImportServicesInformation: TaskNeeds((P.MANAGE_TRUSTED_HOSTS,)),
    trust_messages.SetTrustedState: TaskNeeds((P.MANAGE_TRUSTED_HOSTS,)),
    trust_messages.RemediateTrustedCluster: TaskNeeds((P.MANAGE_TRUSTED_HOSTS,)),
    # roles and who has them
    inventory_messages.AddAuthorizationRole: TaskNeeds((P.MODIFY_ROLES,)),
    inventory_messages.UpdateAuthorizationRole: TaskNeeds((P.MODIFY_ROLES,)),
    inventory_messages.RemoveAuthorizationRole: TaskNeeds((P.MODIFY_ROLES,)),
    inventory_messages.SetEntityPermissions: TaskNeeds((P.MODIFY_PERMISSIONS,)),
    inventory_messages.RemoveEntityPermission: TaskNeeds((P.MODIFY_PERMISSIONS,)),
}


def privileges_for(message: Request[Any], vms: Mapping[VmName, VmRow]) -> tuple[P, ...]:
    """The privileges needed before the task begins. ``KeyError`` for a task that is not listed."""
    needs = NEEDS[type(message)]
    of_item = () if needs.of_item is None else needs.of_item(message)
    encrypted = needs.encrypted if needs.encrypted and _is_encrypted(message, vms) else ()
    return (*needs.always, *encrypted, *of_item)


def vm_of(message: Request[Any]) -> VmName | None:
    """The VM of the task; for a clone its source. None for a task without a VM."""
    named: VmName | None = getattr(message, "vm", None)
    return message.source if isinstance(message, vm_messages.CloneVm) else named


def _is_encrypted(message: Any, vms: Mapping[VmName, VmRow]) -> bool:
    if getattr(message, "encrypted", False):
        return True
    name = vm_of(message)
    row = None if name is None else vms.get(name)
    return row is not None and bool(row.keys)


ADMIN: Final = "Admin"
NO_CRYPTO_ADMIN: Final = "NoCryptoAdmin"
READ_ONLY: Final = "ReadOnly"

ALWAYS: Final = (Privilege.VIEW, Privilege.READ)
"""Privileges that every role has."""

_TRUSTED: Final = "TrustedAdmin"  # the privilege group of members of TrustedAdmins
_CRYPTO: Final = "Cryptographer"
_NOT_WITHOUT_CRYPTO: Final = frozenset(
    {
        Privilege.DIAGNOSTICS,
        Privilege.ADD_HOST,
        Privilege.ADD_STANDALONE_HOST,
        Privilege.MANAGE_USER_GROUPS,
    }
)
"""Privileges that NoCryptoAdmin lacks besides all of ``Cryptographer``: they would be ways around
it."""

_ADMIN: Final = tuple(one for one in Privilege if one.group != _TRUSTED)

SYSTEM_ROLES: Final[Mapping[str, tuple[Privilege, ...]]] = {
    ADMIN: _ADMIN,
    NO_CRYPTO_ADMIN: tuple(
        one for one in _ADMIN if one.group != _CRYPTO and one not in _NOT_WITHOUT_CRYPTO
    ),
    READ_ONLY: ALWAYS,
}
"""The built-in roles. ``TrustedAdmin.*`` is for members of TrustedAdmins (TA-04)."""


@dataclass(frozen=True)
class TaskCaller:
    """The user of a task, with its privileges."""

    name: str
    privileges: frozenset[Privilege]

    def may(self, privilege: Privilege) -> bool:
        """Whether the user has that privilege."""
        return privilege in self.privileges

    def check_gives(self, privileges: Iterable[Privilege], task: str) -> None:
        """``NoPermission`` when the task would grant or revoke privileges that the caller does not
        have.

        A user that may name trusted administrators counts as having their privileges.
        """
        names_them = self.may(Privilege.MODIFY_PERMISSIONS)
        given = [one for one in privileges if one.group != _TRUSTED or not names_them]
        self.check(given, f"{task} with that role")

    def check(self, needed: Iterable[Privilege], task: str) -> None:
        """``NoPermission`` with each missing privilege."""
        lacking = [one for one in needed if one not in self.privileges]
        if not lacking:
            return
        text = f"{self.name} lacks {' and '.join(lacking)}, which {task} needs"
        if any(one.group == _TRUSTED for one in lacking):
            text += f": {self.name} is no member of TrustedAdmins"
        raise NoPermission(text)


SYSTEM: Final = TaskCaller("vCenter", frozenset(Privilege))
"""vCenter itself, as the user of a task that another task creates: an evacuation moves VMs."""


def caller(
    name: str,
    roles: Mapping[str, RoleRow],
    permissions: Mapping[str, PermissionRow],
    trusted_admins: Iterable[str],
) -> TaskCaller:
    """The user of that name (empty: the administrator). A user without a role may do nothing."""
    name = name or ADMINISTRATOR
    found = permissions.get(name)
    role = ADMIN if name == ADMINISTRATOR else "" if found is None else found.role
    privileges = set(privileges_of(role, roles))
    if name in trusted_admins:
        privileges.update(one for one in Privilege if one.group == _TRUSTED)
    return TaskCaller(name, frozenset(privileges))


def privileges_of(role: str, roles: Mapping[str, RoleRow]) -> tuple[Privilege, ...]:
    """The privileges of the role; none for an unknown role."""
    if role in SYSTEM_ROLES:
        return SYSTEM_ROLES[role]
    return roles[role].privileges if role in roles else ()
