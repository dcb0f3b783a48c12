"""Ids of 300 characters: whatever a host lists fits into its messages, and is whole in the end."""

from __future__ import annotations

import pytest

from protocol.codec import SIZE_LIMIT, encode_message, size_on_wire
from protocol.errors import ResponseTooLarge
from protocol.messages.base import Request, Sealed
from protocol.messages.host.crypto import (
    MANAGED_STATUS_BYTES,
    RESULT_BYTES,
    STATUS_BYTES,
    AddKeys,
    CryptoKeyResult,
    GetCryptoKeyStatus,
    KeyStatus,
    RemoveKeys,
)
from protocol.messages.host.session import (
    CheckForUpdates,
    HostState,
    HostSummary,
    OpenSession,
    ProviderRef,
    QueryHost,
    SessionOpened,
    UpdateSet,
    VmSummary,
)
from protocol.pages import pages
from protocol.secret import KeyMaterial
from protocol.terms import (
    CryptoKeyId,
    KeyId,
    KeyManagement,
    ManagementType,
    PowerState,
    ProviderId,
    VmName,
)
from services.esxi.configuration.sections import StoredKey
from services.esxi.vms.file_formats import DiskConfig, VmConfig, WrappedDek
from services.esxi.vms.vm import RegisteredVm
from tests.services.esxi.rig import A, Rig, add, key

VMS, KEYS = 400, 1500
VALUE = KeyMaterial(b"v" * 32)


def long_key(number: int) -> CryptoKeyId:
    return CryptoKeyId(KeyId(f"{number:05d}".ljust(300, "k")), ProviderId("p" * 300))


def with_many_vms(rig: Rig) -> list[VmName]:
    """A host whose view of itself is larger than a message; the names of its VMs, in order."""
    rig.up()
    host = rig.host()
    names = [VmName(f"vm-{number:04d}") for number in range(VMS)]
    for number in reversed(range(VMS)):
        home, disk = WrappedDek(long_key(number), b"w"), WrappedDek(long_key(number + VMS), b"w")
        config = VmConfig(vm=names[number], home=home, disks=(DiskConfig(blocks=1, dek=disk),))
        host.vms[names[number]] = RegisteredVm(names[number], config)
    return names


def by_bus(rig: Rig, message: Request[HostState] | Request[SessionOpened]) -> HostSummary:
    reply = rig.run(rig.controller.bus.request(A, message, within_s=10))
    assert isinstance(reply, HostState | SessionOpened)
    assert len(encode_message(reply)) < SIZE_LIMIT
    return reply.summary


def test_the_view_of_a_host_with_many_vms_comes_page_by_page(rig: Rig) -> None:
    names = with_many_vms(rig)
    first = by_bus(rig, OpenSession(session="next", vcenter_boot=rig.controller.node.boot))
    assert first == by_bus(rig, QueryHost())
    found: list[VmSummary] = list(first.vms)
    more, asked = first.more_vms, 1
    while more:
        page = by_bus(rig, QueryHost(after=found[-1].vm))
        found += page.vms
        more, asked = page.more_vms, asked + 1
    assert asked > 2
    assert [vm.vm for vm in found] == names
    assert all(len(vm.missing) == 2 for vm in found)


def test_a_change_beyond_the_first_page_is_another_version(rig: Rig) -> None:
    names = with_many_vms(rig)

    def check(version: str = "") -> UpdateSet:
        asked = CheckForUpdates(version=version)
        return rig.run(rig.controller.bus.request(A, asked, within_s=10))

    known = check()
    assert known.summary is not None and known.summary.more_vms
    assert check(known.version).summary is None
    rig.host().vms[names[-1]].wanted = PowerState.ON
    assert check(known.version).summary == known.summary
    assert by_bus(rig, QueryHost(after=names[-2])).vms[0].wanted is PowerState.ON


def test_the_view_fits_beside_as_many_providers_as_there_may_be(rig: Rig) -> None:
    names = with_many_vms(rig)
    refs = tuple(
        ProviderRef(
            provider_id=ProviderId(f"{number:04d}".ljust(128, "p")),
            management_type=ManagementType.VCENTER,
        )
        for number in range(1000)  # the most that ``max_key_providers`` may be set to
    )
    rig.host().archive.change(providers=refs)
    first = by_bus(rig, OpenSession(session="next", vcenter_boot=rig.controller.node.boot))
    assert first.providers == refs
    assert [vm.vm for vm in first.vms] == names[: len(first.vms)] and first.vms


def test_the_host_itself_is_asked_for_its_view_in_one(rig: Rig) -> None:
    """The way in at the host has another limit, and no vCenter that could ask again."""
    names = with_many_vms(rig)
    view = rig.summary()
    assert ([vm.vm for vm in view.vms], view.more_vms) == (names, False)


def test_all_cached_keys_come_page_by_page(rig: Rig) -> None:
    rig.up()
    rig.make_safe()
    for number in range(KEYS):
        rig.host().keys.add(StoredKey(long_key(number), VALUE))
    found: list[KeyStatus] = []
    more, asked = True, 0
    while more:
        message = GetCryptoKeyStatus(after=found[-1].key if found else None)
        page = rig.run(rig.controller.bus.request(A, message, within_s=10))
        assert len(encode_message(page)) < SIZE_LIMIT
        found += page.keys
        more, asked = page.more, asked + 1
    assert asked > 2
    assert [status.key for status in found] == sorted(rig.host().keys.ids())


def test_named_keys_are_asked_in_pages_and_too_many_are_refused(rig: Rig) -> None:
    rig.up()
    rig.make_safe()
    keys = [long_key(number) for number in range(KEYS)]
    for page in pages(keys, extra=STATUS_BYTES):
        reply = rig.run(rig.controller.bus.request(A, GetCryptoKeyStatus(keys=page), within_s=10))
        assert [status.key for status in reply.keys] == list(page)
        assert len(encode_message(reply)) < SIZE_LIMIT
    short = tuple(key(f"{number:04d}") for number in range(3000))
    too_many = rig.controller.bus.request(A, GetCryptoKeyStatus(keys=short), within_s=10)
    assert isinstance(rig.refusal(too_many), ResponseTooLarge)


def test_keys_are_added_and_removed_in_pages(rig: Rig) -> None:
    rig.up()
    rig.make_safe()
    keys = [long_key(number) for number in range(KEYS)]
    for page in pages(keys, extra=RESULT_BYTES):
        added = rig.command(AddKeys(keys=page, material=Sealed.of(*(VALUE for _ in page))))
        assert len(encode_message(added)) < SIZE_LIMIT
    assert rig.summary().cached_keys == KEYS + 1
    other = KeyMaterial(b"o" * 32)
    for page in pages(keys, extra=RESULT_BYTES):
        refused = rig.command(AddKeys(keys=page, material=Sealed.of(*(other for _ in page))))
        assert not any(result.success for result in refused.results)
        rig.command(RemoveKeys(keys=page))
        rig.command(RemoveKeys(keys=page))  # the answer with a reason for each
    assert rig.summary().cached_keys == 1


@pytest.mark.parametrize("what", ["add", "remove"])
def test_more_than_can_be_answered_changes_nothing(rig: Rig, what: str) -> None:
    rig.up()
    rig.make_safe()
    rig.add_keys(key("0000"))
    many = tuple(key(f"{number:04d}") for number in range(2000))
    message = add(*many) if what == "add" else RemoveKeys(keys=many)
    assert isinstance(rig.refused_command(message), ResponseTooLarge)
    assert rig.summary().cached_keys == 2


def test_what_a_key_weighs_in_an_answer_beyond_its_id() -> None:
    for identifier in (key("k"), long_key(7)):
        bare = size_on_wire(identifier)
        status = KeyStatus(key=identifier, present=True, stored=True)
        assert size_on_wire(status) <= bare + STATUS_BYTES
        for each in KeyManagement:
            managed = KeyStatus(key=identifier, present=True, stored=True, management_type=each)
            assert size_on_wire(managed) <= bare + MANAGED_STATUS_BYTES
        for result in (
            CryptoKeyResult(
                key=identifier,
                success=False,
                reason="another key is cached under this id",
                fault="InvalidArgument",
            ),
            CryptoKeyResult(
                key=identifier,
                success=True,
                reason="not in the key cache",
                fault="InvalidArgument",
            ),
        ):
            assert size_on_wire(result) <= bare + RESULT_BYTES
