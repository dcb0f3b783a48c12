"""Trust Authority: its thirteen configuration steps, and later changes.

Commands for the Trust Authority vCenter go to the one that the Lab file names, commands for the
workload vCenter to the vCenter of the trusted clusters, unless ``--vcenter`` names another one. The
user of a command must be a member of TrustedAdmins at that vCenter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from lab.schema.commands.base import Command, FilePath, Look, absolute, check_names, doc, wrong
from protocol import names
from protocol.authorization import ADMINISTRATOR
from protocol.trust import TrustItem

if TYPE_CHECKING:
    from lab.schema.answers import (
        Provider,
        TrustAdminList,
        TrustAuthority,
        TrustedHostList,
        TrustFile,
    )

Exported = Literal[
    "principal", "endorsement-key", "ca-certificate", "base-image", "services-information"
]


class TrustAdmin(Command["TrustAdminList"], frozen=True, tag="trust.admin"):
    """Step 1: add a user to TrustedAdmins at both vCenters, or remove it [TA-04].

    keystead trust admin
    keystead trust admin alice@vsphere.local --vcenter ta-vcenter
    """

    member: Annotated[str, doc(word=True)] = ADMINISTRATOR
    remove: bool = False


class TrustEnable(Command["TrustAuthority"], frozen=True, tag="trust.enable"):
    """Step 2: enable the Trust Authority state of the Trust Authority cluster [TA-01].

    keystead trust enable
    keystead trust enable -o json
    """


class TrustExport(Command["TrustFile"], frozen=True, tag="trust.export"):
    """Steps 3, 4, 5, 11: export an item, such as a principal or a base image, to a file.

    keystead trust export principal principal.json
    keystead trust export endorsement-key esxi-001.json --host esxi-001

    An existing file is not overwritten: KS-USE-003.
    """

    item: Exported
    file: FilePath
    host: Annotated[str, doc("Host; for all items but principal and services-information.")] = ""

    def __post_init__(self) -> None:
        of_host = self.item not in ("principal", "services-information")
        if of_host != bool(self.host):
            raise wrong(f"{self.item}: " + ("add --host" if of_host else "it takes no --host"))
        absolute(self.file)

    def file_written(self) -> str:
        return self.file


class TrustImport(Command["TrustFile"], frozen=True, tag="trust.import"):
    """Steps 6, 7, 8, 12: import an exported item at the vCenter that needs it.

    keystead trust import principal.json
    keystead trust import services.json
    """

    file: FilePath

    def __post_init__(self) -> None:
        absolute(self.file)

    def files_read(self) -> tuple[str, ...]:
        return (self.file,)


class TrustSettings(Command["TrustAuthority"], frozen=True, tag="trust.settings"):
    """Set how TPMs are accepted: endorsement key in the list, or certified by an imported CA.

    keystead trust settings --require-endorsement-keys --no-require-certificate-validation
    keystead trust settings --no-require-endorsement-keys --require-certificate-validation

    With neither of them every TPM is accepted, with a warning [TA-07].
    """

    require_endorsement_keys: bool
    require_certificate_validation: bool


class TrustKeyProvider(Command["TrustAuthority"], frozen=True, tag="trust.key-provider"):
    """Step 9: create a trusted key provider with a primary key.

    keystead trust key-provider trusted-provider 5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001 --server kms
    keystead trust key-provider second 5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001 --server kms-1
    """

    provider: str
    primary_key: Annotated[str, doc("Id of the primary key at the key servers.")]
    servers: Annotated[tuple[str, ...], doc("Key server; can be repeated.", name="--server")]

    def __post_init__(self) -> None:
        if not self.servers:
            raise wrong(f"provider {self.provider}: name its key servers with --server")
        check_names(names.PROVIDER, self.provider)


class TrustServers(Command["TrustAuthority"], frozen=True, tag="trust.key-servers"):
    """Step 10: trust the certificates of the provider's key servers.

    keystead trust key-servers trusted-provider
    keystead trust key-servers trusted-provider -o json
    """

    provider: str


class TrustCluster(Command["TrustedHostList"], frozen=True, tag="trust.cluster"):
    """Step 12: enable the Trusted state of a cluster, or disable it [HLT-02].

    keystead trust cluster cluster-a
    keystead trust cluster cluster-a --off
    """

    cluster: str
    off: bool = False


class TrustRegister(Command["Provider"], frozen=True, tag="trust.register"):
    """Step 13: register the trusted key provider at the workload vCenter.

    keystead trust register trusted-provider --default
    keystead trust register trusted-provider
    """

    provider: str
    default: bool = False

    def __post_init__(self) -> None:
        check_names(names.PROVIDER, self.provider)


class TrustSetup(Command["TrustedHostList"], frozen=True, tag="trust.setup"):
    """Do all thirteen steps, as the Lab file says; existing items are kept.

    keystead trust setup
    keystead trust setup -o json
    """


class TrustRemove(Command["TrustAuthority"], frozen=True, tag="trust.remove"):
    """Remove an item from the Trust Authority.

    keystead trust remove base-image 8.0U3-24022510
    keystead trust remove endorsement-key esxi-001
    """

    kind: TrustItem
    item: str


class TrustRemediate(Command["TrustedHostList"], frozen=True, tag="trust.remediate"):
    """Apply the desired configuration to a cluster's hosts; --delete removes the applied one.

    keystead trust remediate cluster-a
    keystead trust remediate cluster-a --delete

    Rule [HLT-02].
    """

    cluster: str
    delete: bool = False


class TrustRenewCertificate(Command["TrustedHostList"], frozen=True, tag="trust.renew-certificate"):
    """Renew the STS certificate of the workload vCenter; its principal becomes out of date.

    keystead trust renew-certificate
    keystead trust renew-certificate -o json

    Rule [HLT-05].
    """


class TrustRenewServices(Command["TrustAuthority"], frozen=True, tag="trust.renew-services"):
    """Reinstall services of the Trust Authority, which gives them new certificates.

    keystead trust renew-services attestation-1 keyprovider-1
    keystead trust renew-services attestation-2 -o json

    Trusted hosts refuse them until you export their services information, import it and remediate
    [TA-08].
    """

    services: Annotated[tuple[str, ...], doc(completes="service")]

    def __post_init__(self) -> None:
        if not self.services:
            raise wrong("name at least one service")


class GetTrustAuthority(Look["TrustAuthority"], frozen=True, tag="get.trust-authority"):
    """Items of the Trust Authority, compared across all its services [HLT-01].

    keystead get trust-authority
    keystead get trust-authority -o json
    """


class GetTrustedHosts(Look["TrustedHostList"], frozen=True, tag="get.trusted-hosts"):
    """Trusted hosts: desired and applied configuration [HLT-02], and attestation.

    keystead get trusted-hosts
    keystead get trusted-hosts -o json
    """
