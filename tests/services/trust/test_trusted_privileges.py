"""Which privileges of ``TrustedAdmin`` a task or a look at a Trust Authority needs (TA-04)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any, Final

import pytest

from protocol.authorization import Privilege as P
from protocol.errors import NoPermission, ProductError
from protocol.messages.base import Request
from protocol.messages.vcenter.inventory import AddAuthorizationRole, SetEntityPermissions
from protocol.messages.vcenter.trust import (
    ExportPrincipal,
    ExportServicesInformation,
    ImportServicesInformation,
    ImportToTrustAuthority,
    QueryTrustAuthority,
    QueryTrustedClusters,
    RemediateTrustedCluster,
    RemoveFromTrustAuthority,
    SetTrustedState,
    TrustKeyServers,
)
from protocol.terms import KeyId, NodeName
from protocol.trust import TpmCaCertificate, TrustItem
from services.vcenter.authorization.privileges import NEEDS, privileges_for
from tests.services.trust.administration import (
    CLUSTER,
    ENABLE,
    SETTINGS,
    TA,
    WORKLOAD,
    Administration,
    create,
)
from tests.services.trust.rig import TRUSTED

GROUP: Final = frozenset(one for one in P if one.group == "TrustedAdmin")
ALL_READ: Final = (
    P.READ_TRUSTED_HOSTS,
    P.READ_ATTESTING_SSO,
    P.RETRIEVE_TPM_HOST_CERTIFICATES,
    P.RETRIEVE_HOST_METADATA,
    P.READ_KMS_TRUST,
)


def _removing(kind: TrustItem) -> RemoveFromTrustAuthority:
    return RemoveFromTrustAuthority(kind=kind, name="nothing of that name")


_NUMBERS: Final = count(1)
Made = Callable[[Administration], Request[Any]]
CASES: Final[dict[str, tuple[Made, NodeName, tuple[P, ...]]]] = {
    "enable": (lambda lab: ENABLE, TA, (P.MANAGE_TRUSTED_HOSTS,)),
    "import a principal": (lambda lab: lab.principal(), TA, (P.MANAGE_ATTESTING_SSO,)),
    "import an endorsement key": (
        lambda lab: lab.endorsement_key(),
        TA,
        (P.CONFIGURE_HOST_CERTIFICATES,),
    ),
    "import a CA certificate": (
        lambda lab: ImportToTrustAuthority(ca_certificate=TpmCaCertificate(name="x", chain=())),
        TA,
        (P.CONFIGURE_HOST_CERTIFICATES,),
    ),
    "import a base image": (
        lambda lab: ImportToTrustAuthority(base_image=lab.image()),
        TA,
        (P.CONFIGURE_HOST_METADATA,),
    ),
    "remove a principal": (
        lambda lab: _removing(TrustItem.PRINCIPAL),
        TA,
        (P.MANAGE_ATTESTING_SSO,),
    ),
    "remove an endorsement key": (
        lambda lab: _removing(TrustItem.ENDORSEMENT_KEY),
        TA,
        (P.CONFIGURE_HOST_CERTIFICATES,),
    ),
    "remove a CA certificate": (
        lambda lab: _removing(TrustItem.CA_CERTIFICATE),
        TA,
        (P.CONFIGURE_HOST_CERTIFICATES,),
    ),
    "remove a base image": (
        lambda lab: _removing(TrustItem.BASE_IMAGE),
        TA,
        (P.CONFIGURE_HOST_METADATA,),
    ),
    "remove a provider": (lambda lab: _removing(TrustItem.PROVIDER), TA, (P.MANAGE_KMS_TRUST,)),
    "settings": (lambda lab: SETTINGS, TA, (P.CONFIGURE_HOST_CERTIFICATES,)),
    "create a provider": (lambda lab: create(KeyId("none")), TA, (P.MANAGE_KMS_TRUST,)),
    "trust key servers": (
        lambda lab: TrustKeyServers(provider=TRUSTED),
        TA,
        (P.READ_KMS_TRUST, P.MANAGE_KMS_TRUST),
    ),
    "look at the authority": (lambda lab: QueryTrustAuthority(), TA, ALL_READ),
    "export services": (lambda lab: ExportServicesInformation(), TA, (P.READ_TRUSTED_HOSTS,)),
    "export the principal": (lambda lab: ExportPrincipal(), WORKLOAD, (P.READ_STS_INFO,)),
    "look at trusted clusters": (
        lambda lab: QueryTrustedClusters(),
        WORKLOAD,
        (P.READ_TRUSTED_HOSTS,),
    ),
    "import services": (
        lambda lab: ImportServicesInformation(services=lab.services_information()),
        WORKLOAD,
        (P.MANAGE_TRUSTED_HOSTS,),
    ),
    "trusted state": (
        lambda lab: SetTrustedState(cluster=CLUSTER),
        WORKLOAD,
        (P.MANAGE_TRUSTED_HOSTS,),
    ),
    "remediate": (
        lambda lab: RemediateTrustedCluster(cluster=CLUSTER),
        WORKLOAD,
        (P.MANAGE_TRUSTED_HOSTS,),
    ),
}


@pytest.fixture(scope="module")
def lab() -> Iterator[Administration]:
    made = Administration()
    made.ready()
    yield made
    made.close()


def _user(lab: Administration, at: NodeName, privileges: frozenset[P]) -> str:
    """A user with these privileges and no others, but for looking."""
    name = f"user-{next(_NUMBERS)}"
    lab.do(AddAuthorizationRole(role=name, privileges=tuple(sorted(privileges))), at)
    lab.do(SetEntityPermissions(principal=name, role=name), at)
    return name


def _outcome(lab: Administration, message: Request[Any], at: NodeName, user: str) -> str:
    """Why it was refused for want of a privilege; empty when it was not."""

    async def tried() -> str:
        try:
            await lab.ask(at, message, user)
        except NoPermission as error:
            return str(error)
        except ProductError:
            return ""
        return ""

    return lab.run(tried())


@pytest.mark.parametrize("case", CASES)
def test_each_needs_its_privileges_and_no_others(lab: Administration, case: str) -> None:
    make, at, privileges = CASES[case]
    message = make(lab)
    assert _outcome(lab, message, at, _user(lab, at, frozenset(privileges))) == ""
    for one in privileges:
        told = _outcome(lab, message, at, _user(lab, at, GROUP - {one}))
        assert f"lacks {one.value}, which" in told and "no member of TrustedAdmins" in told


def test_every_privilege_of_the_group_is_needed_somewhere_but_one() -> None:
    """Nothing here has a policy of token conversions."""
    asked = {one for _, _, privileges in CASES.values() for one in privileges}
    assert GROUP - asked == {P.CONFIGURE_TOKEN_CONVERSION_POLICY}
    assert len(GROUP) == 12


def test_an_import_of_nothing_or_of_several_items_needs_what_each_needs() -> None:
    nothing = set(privileges_for(ImportToTrustAuthority(), {}))
    assert nothing == {
        P.MANAGE_ATTESTING_SSO,
        P.CONFIGURE_HOST_CERTIFICATES,
        P.CONFIGURE_HOST_METADATA,
    }
    assert ImportToTrustAuthority in NEEDS
