"""What a host says of keys, its own first: there or not, and where it is managed (HEM-08)."""

from __future__ import annotations

import msgspec
import pytest

from protocol.messages.host.crypto import GetCryptoKeyStatus, SetProviders
from protocol.messages.host.session import ProviderRef
from protocol.terms import CryptoKeyId, KeyManagement, ManagementType, ProviderId
from tests.services.esxi import test_native as native
from tests.services.esxi.rig import HOST_KEY, PROVIDER, Rig, key

LATER = ProviderId("not told yet")


def managed(rig: Rig, *keys: CryptoKeyId) -> list[tuple[bool, object]]:
    found = rig.console(GetCryptoKeyStatus(keys=keys, managed=True)).keys
    return [(one.present, one.management_type) for one in found]


def test_who_manages_a_key_is_what_its_provider_is(rig: Rig) -> None:
    """A native one's is made on the host; of one that the host was not told of it does not know."""
    native.ready(rig)
    derived = native.encrypted(rig)
    standard = ProviderRef(provider_id=PROVIDER, management_type=ManagementType.VCENTER)
    rig.command(SetProviders(providers=(native.ref(), standard)))
    rig.add_keys(key("a"), CryptoKeyId(key("b").key_id, LATER))
    assert managed(rig, native.HOST_KEY, derived, key("a"), key("absent")) == [
        (True, KeyManagement.INTERNAL),
        (True, KeyManagement.INTERNAL),
        (True, KeyManagement.EXTERNAL),
        (False, KeyManagement.EXTERNAL),
    ]
    assert managed(rig, CryptoKeyId(key("b").key_id, LATER)) == [(True, KeyManagement.UNKNOWN)]
    every = rig.console(GetCryptoKeyStatus(managed=True)).keys
    assert {one.management_type for one in every} == set(KeyManagement)


def test_a_host_key_that_is_gone_is_absent(rig: Rig) -> None:
    rig.up()
    rig.command(
        SetProviders(
            providers=(ProviderRef(provider_id=PROVIDER, management_type=ManagementType.VCENTER),)
        )
    )
    rig.make_safe()
    assert managed(rig, HOST_KEY) == [(True, KeyManagement.EXTERNAL)]
    rig.reboot()
    assert rig.summary().crypto_key_id == HOST_KEY
    assert managed(rig, HOST_KEY) == [(False, KeyManagement.EXTERNAL)]


@pytest.mark.parametrize(("version", "says"), [("8.0", False), ("8.0U1", True)])
def test_it_is_said_from_8_0_u1_on_and_when_asked(rig: Rig, version: str, says: bool) -> None:
    rig.up(version=version)
    rig.make_safe()
    [(present, kind)] = managed(rig, HOST_KEY)
    assert present and (kind is not msgspec.UNSET) is says
    (plain,) = rig.console(GetCryptoKeyStatus(keys=(HOST_KEY,))).keys
    assert plain.management_type is msgspec.UNSET
