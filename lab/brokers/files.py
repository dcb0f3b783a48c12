"""What a lab keeps about its brokers and identities: files of JSON below its folder."""

from __future__ import annotations

from pathlib import Path

import msgspec


class BrokerEndpoint(msgspec.Struct, frozen=True):
    """Where a broker listens. The port stays the same over restarts, or clients would lose it;
    -1 before the first start."""

    port: int
    server_name: str
    route: int = -1


class SecretFile(msgspec.Struct, frozen=True):
    """The private half of an identity: an nkey seed; of nodes also the raw 32 bytes of the sealing
    key, in base64."""

    name: str
    seed: str
    sealing: str = ""


def broker_folder(lab: Path, kind: str, number: int = 1) -> Path:
    """The folder of one server of a broker, ``data`` or ``control``."""
    return (lab / f"broker-{kind}{'' if number == 1 else f'-{number}'}").absolute()


def endpoint_file(broker: Path) -> Path:
    """The file of a ``BrokerEndpoint`` in the folder of a broker."""
    return broker / "endpoint.json"


def control_folder(lab: Path) -> Path:
    """The folder of ``SecretFile``s of the control broker's users, ``<name>.json``."""
    return lab / "identity" / "control"
