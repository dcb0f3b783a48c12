"""Which TPM an anchor may stand beside, and what a passphrase's root is made of."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from typing import Any, cast

import msgspec
import pytest

from protocol.errors import CryptographicFailure
from protocol.messages.kms.keys import CreateKey
from protocol.secret import KeyMaterial
from protocol.terms import RootKind
from protocol.tpm.errors import RC_HANDLE_1, RC_IO_ERROR, tpm_error
from protocol.tpm.structures import SealedBlob
from services.kms.audit.audit_trail import TrailEnd
from services.kms.commit.unit_of_work import Written
from services.kms.custody.anchor import ANCHOR_FILE, TAG_SIZE, AnchorKeeper, RolledBack
from services.kms.sealing.roots import ROOTS
from services.kms.sealing.roots.base import RootMeans
from services.kms.sealing.roots.passphrase import PASSPHRASE_OPTION
from services.kms.sealing.vault import unpack_header, unseal
from services.kms.settings.config import KmsConfig
from services.runtime.ports import Tpm
from services.runtime.service import Halted, PowerInputs
from tests.services.kms.ports import CONFIG, CountedRng, Server

WORDS = "correct horse battery"


class Counter:
    """The NV counter of a TPM, and nothing else; ``count`` None: it was never made."""

    def __init__(self, count: int | None) -> None:
        self.count = count
        self.fails = False  # to rise

    async def counter(self, index: int, *, bump: bool = False) -> int:
        if bump and self.fails:
            raise tpm_error(RC_IO_ERROR)
        if bump:
            self.count = (self.count or 0) + 1
        if self.count is None:
            raise tpm_error(RC_HANDLE_1)
        return self.count


class Killed(Exception):
    """The end of a life."""


class Mortal(Counter):
    """Each life ends when its first anchor is written, and before the counter has risen for it."""

    def __init__(self, server: Server, count: int) -> None:
        super().__init__(count)
        self._server, self.dies = server, True
        self.begin()

    def begin(self) -> None:
        self._before = self._server.platter.written[ANCHOR_FILE]

    async def counter(self, index: int, *, bump: bool = False) -> int:
        if bump and self.dies and self._server.platter.written[ANCHOR_FILE] != self._before:
            raise Killed
        return await super().counter(index, bump=bump)


def number_in(server: Server) -> int:
    """The number of the last anchor in the file."""
    return int.from_bytes(server.platter.written[ANCHOR_FILE][-TAG_SIZE - 8 : -TAG_SIZE])


def keeper(server: Server, count: int | None, *, tpm: bool = True) -> AnchorKeeper:
    return kept_by(server, Counter(count) if tpm else None)


def kept_by(server: Server, device: Counter | None) -> AnchorKeeper:
    """With that TPM."""
    node, disk, tpm = cast(Any, server.node), cast(Any, server.disk), cast(Tpm | None, device)
    return AnchorKeeper(node, disk, server.vault, tpm)


async def anchored(server: Server) -> None:
    """Have the anchor number 5 in the file: the TPM's counter is at 5."""
    made = keeper(server, 4)
    await made.begin(cast(Any, server.database))


@pytest.mark.parametrize(
    ("count", "told"),
    [
        (5, ""),
        (4, ""),  # a crash between anchor and counter
        (3, "the TPM is at 3"),  # another TPM, or one whose memory was put back
        (6, "the TPM is at 6"),
        (None, "the TPM has no counter"),
    ],
)
async def test_the_tpm_under_an_anchor_is_the_one_that_counted_it(
    server: Server, count: int | None, told: str
) -> None:
    await anchored(server)
    check = keeper(server, count).check(cast(Any, server.database))
    if not told:
        await check
        return
    with pytest.raises(RolledBack, match=told):
        await check


async def test_no_two_anchors_have_one_number_whatever_lives_end_before_the_counter_rises(
    server: Server,
) -> None:
    """Else the disk of the first of these lives could be put back after the last one."""
    device, numbers = Mortal(server, 4), list[int]()
    for device.dies in (True, True, True, False):
        device.begin()
        made = kept_by(server, device)
        if numbers:
            await made.check(cast(Any, server.database))
        with suppress(Killed):
            await made.begin(cast(Any, server.database))
        numbers.append(number_in(server))
    assert numbers == [5, 6, 7, 8] and device.count == 8
    old = keeper(server, 5)
    with pytest.raises(RolledBack, match="has number 8, the TPM is at 5"):
        await old.check(cast(Any, server.database))


async def test_a_counter_that_did_not_rise_is_raised_before_the_next_anchor(server: Server) -> None:
    """A TPM that fails in the middle of a life, and works again."""
    device = Counter(4)
    made = kept_by(server, device)
    await made.begin(cast(Any, server.database))
    for row, device.fails in ((1, True), (2, True), (3, False)):
        written = Written(TrailEnd(row, bytes(32)), changed=True)
        made.handle_commit(written)
        left = made.confirm(written)
        assert left is not None
        await left
        assert number_in(server) == (6 if device.fails else 7)
    assert device.count == 7


@pytest.mark.parametrize("written", [Written(), Written(TrailEnd(9, bytes(32)))])
async def test_what_changed_no_key_needs_no_anchor(server: Server, written: Written) -> None:
    made = keeper(server, 4)
    await made.begin(cast(Any, server.database))
    number = number_in(server)
    made.handle_commit(written)
    assert made.confirm(written) is None
    assert number_in(server) == number and not made.is_behind


async def test_an_anchor_that_a_tpm_has_counted_asks_for_it(server: Server) -> None:
    await anchored(server)
    with pytest.raises(RolledBack, match="the TPM that counts how far it has come is not there"):
        await keeper(server, None, tpm=False).check(cast(Any, server.database))


async def test_a_tpm_that_counts_under_an_anchor_that_was_not_counted_is_told(
    server: Server,
) -> None:
    """Someone has removed both files and begun anew; or the TPM is another server's."""
    await server.ask(CreateKey(operation_id="1"))
    with pytest.raises(RolledBack, match="has number 0, the TPM is at 7"):
        await keeper(server, 7).check(cast(Any, server.database))


class Dying(Counter):
    """The life ends when its counter has been made, or just before."""

    def __init__(self, *, before: bool) -> None:
        super().__init__(None)
        self._before, self.dies = before, True

    async def counter(self, index: int, *, bump: bool = False) -> int:
        if bump and self.dies and self._before:
            raise Killed
        value = await super().counter(index, bump=bump)
        if bump and self.dies:
            raise Killed
        return value


@pytest.mark.parametrize("before", [True, False], ids=["before", "behind"])
@pytest.mark.parametrize("rows", [0, 1])
async def test_a_life_that_ends_when_it_makes_the_counter_is_no_rollback(
    server: Server, rows: int, *, before: bool
) -> None:
    """Nothing was put back: the first life under a TPM has not come to its first anchor."""
    if rows:
        await server.ask(CreateKey(operation_id="1"))
    else:
        await server.disk.remove(ANCHOR_FILE)
    device = Dying(before=before)
    with pytest.raises(Killed):
        await kept_by(server, device).begin(cast(Any, server.database))
    device.dies = False
    again = kept_by(server, device)
    await again.check(cast(Any, server.database))
    await again.begin(cast(Any, server.database))
    assert number_in(server) == device.count
    await kept_by(server, device).check(cast(Any, server.database))


# ---- passphrases -----------------------------------------------------------------------------


async def with_words() -> Server:
    server = Server(config=KmsConfig(identities=CONFIG.identities, root=RootKind.PASSPHRASE))
    server.node.power = PowerInputs(boot_options={PASSPHRASE_OPTION: WORDS})
    await server.boot()
    return server


async def test_a_passphrase_costs_what_is_written_about_it() -> None:
    """RFC 7914 by another way, of what lies on the disk: N 2^15, r 8, p 1."""
    server = await with_words()
    [(packed, box)] = server.platter.sql("SELECT header, box FROM ring")
    salt, cost, block, parallel = msgspec.msgpack.decode(unpack_header(packed).params)
    assert (cost, block, parallel, len(salt)) == (1 << 15, 8, 1, 16)
    key = hashlib.scrypt(WORDS.encode(), salt=salt, n=1 << 15, r=8, p=1, maxmem=1 << 27, dklen=32)
    assert unseal(box, KeyMaterial(key), packed).current.number == 1
    server.platter.databases["keys"].close()


@pytest.mark.parametrize("costs", [(1, 8, 1), (1 << 20, 8, 1), (1 << 15, 1024, 1), (1 << 15, 8, 9)])
async def test_costs_that_somebody_else_wrote_are_not_paid(costs: tuple[int, int, int]) -> None:
    """Neither a guess for nothing, nor all memory of the machine."""
    means = RootMeans(cast(Any, None), CountedRng(), passphrase=KeyMaterial(WORDS.encode()))
    params = msgspec.msgpack.encode((bytes(16), *costs))
    with pytest.raises(CryptographicFailure, match="header"):
        await ROOTS[RootKind.PASSPHRASE].open(means, params)


async def test_an_empty_passphrase_is_none() -> None:
    server = await with_words()
    server.node.power = PowerInputs(boot_options={PASSPHRASE_OPTION: ""})
    with pytest.raises(Halted, match="none was given"):
        await server.boot()
    server.platter.databases["keys"].close()


class Sealing:
    """A TPM that seals, and remembers what."""

    def __init__(self) -> None:
        self.sealed: list[tuple[bytes, bytes]] = []

    async def ensure_srk(self) -> None:
        """It is there."""

    async def pcrs(self, *_: int) -> dict[int, bytes]:
        return {7: bytes(32)}

    async def seal(self, secret: bytes, policy: bytes) -> SealedBlob:
        self.sealed.append((secret, policy))
        return SealedBlob(public=b"", private=b"")


async def test_what_a_tpm_seals_was_drawn_for_it() -> None:
    device, rng = Sealing(), CountedRng()
    means = RootMeans(cast(Any, None), rng, tpm=cast(Tpm, device))
    made = [await ROOTS[RootKind.TPM].make(means) for _ in range(2)]
    secrets = [secret for secret, _ in device.sealed]
    assert secrets == [root.key.reveal() for root in made] == rng.tokens
    assert len({*secrets}) == 2 and all(len(secret) == 32 for secret in secrets)
    assert all(len(policy) == 32 for _, policy in device.sealed)
