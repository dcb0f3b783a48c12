"""The certificate that a host of vSAN shows key servers: kept, and its key never in clear."""

from __future__ import annotations

import pytest

from protocol.crypto.certificates import common_name, validity
from protocol.errors import InvalidState
from protocol.messages.agent import TpmBackend
from protocol.messages.host.vsan import GenerateVsanClientCert
from services.runtime.node_certificates import DAY_S
from tests.services.esxi.rig import A, Rig

VSAN = {"groups": 1, "disks": 1}


def test_it_is_made_once_and_kept_over_boots(rig: Rig) -> None:
    rig.up(vsan=VSAN)
    first = rig.console(GenerateVsanClientCert()).certificate
    assert common_name(first) == A
    assert rig.console(GenerateVsanClientCert()).certificate == first
    rig.reboot(way="power_loss")
    assert rig.console(GenerateVsanClientCert()).certificate == first
    second = rig.console(GenerateVsanClientCert(renew=True)).certificate
    assert second != first
    rig.reboot(way="power_loss")
    assert rig.console(GenerateVsanClientCert()).certificate == second


def test_its_life_is_the_knobs(rig: Rig) -> None:
    rig.up(vsan=VSAN, knobs={"kmip_certificate_days": 7})
    start, end = validity(rig.console(GenerateVsanClientCert()).certificate)
    assert end - start == pytest.approx(8 * DAY_S, abs=2)  # a day of it lies before its making


@pytest.mark.parametrize("tpm", [TpmBackend.MODEL, TpmBackend.NONE])
def test_no_file_of_the_host_has_its_private_key(rig: Rig, tpm: TpmBackend) -> None:
    """CFG-01: it is in the encrypted configuration and nowhere else, whatever protects that."""
    rig.up(vsan=VSAN, tpm=tpm)
    certificate = rig.console(GenerateVsanClientCert()).certificate
    own = rig.host().archive.now.kmip
    assert own is not None and own.certificate == certificate
    files = [data for _, data in rig.store().images()]
    assert files and not any(own.secret in data or own.secret[-32:] in data for data in files)
    assert own.secret.hex() not in repr(rig.host().archive.now)
    assert str(own.secret) not in repr(rig.host().archive.now)


def test_a_host_without_vsan_has_none(rig: Rig) -> None:
    rig.up()
    assert isinstance(rig.refused_door(GenerateVsanClientCert()), InvalidState)
