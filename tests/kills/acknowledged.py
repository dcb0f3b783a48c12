"""What nodes other than key servers acknowledged in one lab, and whether they still have it."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from random import Random
from typing import Final

from chaos.observe.look import LabLook, all_known_keys, all_vms, nodes_of
from lab.client import Lab
from lab.core import LabCore
from lab.schema.commands import GetTrustAuthority, TrustSettings
from lab.schema.errors import KeysteadError
from protocol.errors import ProductError, TimedOut
from protocol.messages.attestation import QueryAttestationConfiguration
from protocol.messages.keyprovider import GenerateServiceClientCert, QueryKeyProviderService
from protocol.messages.vcenter.providers import GenerateKey
from protocol.messages.vcenter.vms import CreateVm, DestroyVm
from protocol.terms import ClusterName, CryptoKeyId, NodeName, Role, VmName
from tests.kills.labs import REMEDIATION_S

VCENTER: Final = NodeName("vcenter")
CLUSTER: Final = ClusterName("cluster-a")
MOST_VMS: Final = 4
WITHIN_S: Final = 200.0
CATCH_UP_TRIES: Final = 10
"""So many looks of a vCenter at its services bring one that was silent what it lacks."""


class Acknowledged:
    """Does one operation after another, and remembers those that were acknowledged.

    What was asked for and not answered may be so or not; it is not read back.
    """

    def __init__(self, lab: Lab, core: LabCore, choose: Random) -> None:
        self._lab, self._core, self._choose = lab, core, choose
        self._numbers = itertools.count(1)
        self.count = 0
        self.keys: set[str] = set()
        self.vms: dict[VmName, bool] = {}  # whether it is there
        self._doubtful: set[VmName] = set()
        self.settings: TrustSettings | None = None
        self._settings_doubtful = False
        self._without_settings: set[NodeName] = set()  # services that the answer named as silent
        self.certificates: dict[NodeName, bytes] = {}

    def works(self) -> list[Callable[[], Awaitable[None]]]:
        """The operations that this lab has."""
        if nodes_of(self._core, Role.ATTESTATION):
            return [self._trust_settings, self._certificate]
        return [self._vm]

    async def key(self, operation: str) -> CryptoKeyId:
        """A new key of the default provider; ``TimedOut`` when nobody knows whether there is one.

        vCenter's answer does not say whether a key server has made it all the same.
        """
        message = GenerateKey(operation_id=operation)
        made = await self._core.ask(VCENTER, message, within_s=WITHIN_S)
        if not made.success or made.key is None:
            raise TimedOut(made.reason)
        self.keys.add(str(made.key))
        return made.key

    async def _vm(self) -> None:
        """One comes, or one goes."""
        there = [vm for vm, is_there in self.vms.items() if is_there] + sorted(self._doubtful)
        if len(there) >= MOST_VMS:
            vm = self._choose.choice(there)
            # What was asked for without an answer may come to be after it was destroyed.
            known = vm in self.vms
            self._doubt(vm)
            await self._core.ask(VCENTER, DestroyVm(vm=vm), within_s=WITHIN_S)
            if known:
                self._sure(vm, there=False)
            self._doubtful.discard(vm)
            return
        vm = VmName(f"made-{next(self._numbers):05}")
        self._doubt(vm)
        message = CreateVm(operation_id=str(vm), vm=vm, cluster=CLUSTER, encrypted=True)
        await self._core.ask(VCENTER, message, within_s=WITHIN_S)
        self._sure(vm, there=True)

    def _doubt(self, vm: VmName) -> None:
        self.vms.pop(vm, None)
        self._doubtful.add(vm)

    def _sure(self, vm: VmName, *, there: bool) -> None:
        self._doubtful.discard(vm)
        self.vms[vm] = there
        self.count += 1

    async def _trust_settings(self) -> None:
        before = self.settings
        wanted = TrustSettings(
            require_endorsement_keys=before is None or not before.require_endorsement_keys,
            require_certificate_validation=False,
        )
        self._settings_doubtful = True
        done = await self._lab.do(wanted)
        self.settings, self._settings_doubtful = wanted, False
        self._without_settings = set(done.silent)
        self.count += 1

    async def _certificate(self) -> None:
        """A Key Provider Service has another one for KMIP."""
        service = self._choose.choice(nodes_of(self._core, Role.KEYPROVIDER))
        self.certificates.pop(service, None)
        message = GenerateServiceClientCert(renew=True)
        made = await self._core.ask(service, message, within_s=WITHIN_S)
        self.certificates[service] = made.certificate
        self.count += 1

    # ---- read back ------------------------------------------------------------------------------

    async def read_back(self) -> tuple[int, list[str]]:
        """How many were read back, and what is lost."""
        read, lost = 0, list[str]()
        for look in (self._read_keys, self._read_vms, self._read_trust):
            try:
                count, gone = await look()
            except (ProductError, KeysteadError) as error:
                count, gone = 0, [f"nothing could be read back: {error}"]
            read, lost = read + count, lost + gone
        return read, lost

    async def _read_keys(self) -> tuple[int, list[str]]:
        if not self.keys:
            return 0, []
        wanted = set(self.keys)
        known = {str(key) for key in await all_known_keys(self._core, VCENTER)}
        return len(wanted), [f"vCenter does not know the key {key}" for key in wanted - known]

    async def _read_vms(self) -> tuple[int, list[str]]:
        if not self.vms:
            return 0, []
        wanted = dict(self.vms)
        has = {info.vm: info for info in await all_vms(self._core, VCENTER)}
        at_hosts = await LabLook(self._core).vms()
        lost = [
            f"{vm} of vCenter's inventory is {'not ' if is_there else ''}there, or has no key"
            for vm, is_there in wanted.items()
            if is_there != (vm in has and has[vm].key is not None)
        ]
        lost += [
            f"{vm} is {'not ' if is_there else ''}registered at its host"
            for vm, is_there in wanted.items()
            if is_there != (vm in at_hosts)
        ]
        return len(wanted), lost

    async def _read_trust(self) -> tuple[int, list[str]]:
        read, lost = 0, list[str]()
        settings, certificates = self.settings, dict(self.certificates)
        if settings is not None and not self._settings_doubtful:
            wanted = settings.require_endorsement_keys
            read += 1
            if (await self._lab.do(GetTrustAuthority())).require_endorsement_keys != wanted:
                lost.append("the Trust Authority does not have the TPM settings that it was given")
            for service in nodes_of(self._core, Role.ATTESTATION):
                read += 1
                if not await self._has_settings(service, wanted=wanted):
                    lost.append(f"{service} does not have the TPM settings that it was given")
            self._without_settings.clear()
        for service, certificate in certificates.items():
            told = await self._core.ask(service, QueryKeyProviderService(), within_s=WITHIN_S)
            read += 1
            if told.client_certificate != certificate:
                lost.append(f"{service} does not have the certificate that it made")
        return read, lost

    async def _has_settings(self, service: NodeName, *, wanted: bool) -> bool:
        """At once; one that was silent gets them with a later look of its vCenter (HLT-01)."""
        tries = CATCH_UP_TRIES if service in self._without_settings else 1
        for left in reversed(range(tries)):
            asked = QueryAttestationConfiguration()
            found = (await self._core.ask(service, asked, within_s=WITHIN_S)).settings
            if found.require_endorsement_keys == wanted:
                return True
            if left:
                await self._core.sleep(REMEDIATION_S)
        return False
