"""Trust Authority: the thirteen steps of its administrators, one by one, and what follows later.

Those for the Trust Authority vCenter go to that of the lab file, those for the workload vCenter to
the one of the trusted clusters, unless ``--vcenter`` names one. Who gives them is a member of
TrustedAdmins there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from lab.schema.commands.base import Command, absolute, check_names, wrong
from protocol import names
from protocol.authorization import ADMINISTRATOR
from protocol.trust import TrustItem

if TYPE_CHECKING:
    from lab.schema.answers import (
        Key,
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
    """Step 1: ``member`` is in TrustedAdmins, or not any more; at both vCenters [TA-04]."""

    member: str = ADMINISTRATOR
    remove: bool = False


class TrustEnable(Command["TrustAuthority"], frozen=True, tag="trust.enable"):
    """Step 2: the Trust Authority state of the cluster of the lab file [TA-01]."""


class TrustExport(Command["TrustFile"], frozen=True, tag="trust.export"):
    """Steps 3, 4, 5 and 11: what is taken from a host or a vCenter, into a new file.

    ``host`` for all but the principal and services information. ``file`` is an absolute path;
    KS-USE-003 for a file that is there.
    """

    item: Exported
    file: str
    host: str = ""

    def __post_init__(self) -> None:
        of_host = self.item not in ("principal", "services-information")
        if of_host != bool(self.host):
            raise wrong(f"{self.item}: " + ("of which host?" if of_host else "it is of no host"))
        absolute(self.file)

    def file_written(self) -> str:
        return self.file


class TrustImport(Command["TrustFile"], frozen=True, tag="trust.import"):
    """Steps 6, 7, 8 and the first half of 12: what such a file holds, where it belongs.

    ``file`` is an absolute path.
    """

    file: str

    def __post_init__(self) -> None:
        absolute(self.file)

    def files_read(self) -> tuple[str, ...]:
        return (self.file,)


class TrustSettings(Command["TrustAuthority"], frozen=True, tag="trust.settings"):
    """What endorsement keys have to be; neither takes any, and is warned about [TA-07]."""

    require_endorsement_keys: bool
    require_certificate_validation: bool


class TrustKeyProvider(Command["TrustAuthority"], frozen=True, tag="trust.key-provider"):
    """Step 9: a trusted key provider; ``primary_key`` is its id at the key servers."""

    provider: str
    primary_key: str
    servers: tuple[str, ...]

    def __post_init__(self) -> None:
        check_names(names.PROVIDER, self.provider)


class TrustServers(Command["TrustAuthority"], frozen=True, tag="trust.key-servers"):
    """Step 10: the certificates of the provider's key servers are reviewed and trusted."""

    provider: str


class TrustCluster(Command["TrustedHostList"], frozen=True, tag="trust.cluster"):
    """Step 12, second half: the Trusted state of a cluster; ``off`` ends it [HLT-02]."""

    cluster: str
    off: bool = False


class TrustRegister(Command["Provider"], frozen=True, tag="trust.register"):
    """Step 13: the provider at the workload vCenter, of management type trustAuthority."""

    provider: str
    default: bool = False

    def __post_init__(self) -> None:
        check_names(names.PROVIDER, self.provider)


class TrustSetup(Command["TrustedHostList"], frozen=True, tag="trust.setup"):
    """All thirteen steps, as the lab file says; what is there already stays."""


class TrustRemove(Command["TrustAuthority"], frozen=True, tag="trust.remove"):
    """Take one item out of a Trust Authority."""

    kind: TrustItem
    item: str


class TrustRemediate(Command["TrustedHostList"], frozen=True, tag="trust.remediate"):
    """Make what is applied on a cluster's hosts what is desired; ``delete`` wipes it [HLT-02]."""

    cluster: str
    delete: bool = False


class TrustRenewCertificate(Command["TrustedHostList"], frozen=True, tag="trust.renew-certificate"):
    """Renew the STS certificate of the workload vCenter: its principal is stale [HLT-05]."""


class TrustRenewServices(Command["TrustAuthority"], frozen=True, tag="trust.renew-services"):
    """Install ``services`` of the Trust Authority anew, one after another: each has another
    certificate. Trusted hosts refuse them until their services information was exported, imported
    and remediated [TA-08]. KS-USE-002 for a node that is no such service."""

    services: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.services:
            raise wrong("name at least one service")


class GetTrustAuthority(Command["TrustAuthority"], frozen=True, tag="get.trust-authority"):
    """Each item of a Trust Authority, compared over all its services [HLT-01]."""


class GetTrustedHosts(Command["TrustedHostList"], frozen=True, tag="get.trusted-hosts"):
    """Desired against applied, and what each Attestation Service made of hosts [HLT-02]."""


class KmsKeyCreate(Command["Key"], frozen=True, tag="kms.key.create"):
    """A key made at a key server by its operator, Active: for a primary key."""

    kms: str
