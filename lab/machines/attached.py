"""Labs that run elsewhere and are commanded from here, as the state folder keeps them::

attached/<name>.json   what the file of ``keystead lab access`` has
attached/<name>.pem    the lab's certificate authority
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from lab.schema.errors import KeysteadError
from lab.state.scratch import state_home
from lab.state.state_folder import lab_name

LAYOUT: Final = 1


class Access(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What such a file has: ``address`` of the lab's TLS proxy, ``seed`` of the identity ``cli``,
    ``authority`` of the lab (PEM)."""

    layout: int = LAYOUT
    lab: str
    address: str
    seed: str
    authority: str


def find_access(name: str) -> Access | None:
    """What was attached under ``name``; None when nothing was."""
    try:
        return msgspec.json.decode(place(lab_name(name)).read_bytes(), type=Access)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def all_attached() -> list[str]:
    """The names of all that were attached."""
    return sorted(path.stem for path in place("any").parent.glob("*.json"))


def elsewhere(access: Access) -> KeysteadError:
    """Why it has no files here, and takes no other lab's place."""
    return KeysteadError(
        "KS-LAB-013",
        f"the lab {access.lab} runs elsewhere, and is attached at {access.address}",
        "do this where it runs (of compose: `docker compose exec supervisor keystead ...`), choose "
        f"another `--name`, or forget it: `keystead lab detach {access.lab}`",
    )


def no_lab(name: str) -> KeysteadError:
    """Why there is no lab ``name`` here: it runs elsewhere, or nowhere."""
    access = find_access(name)
    if access is not None:
        return elsewhere(access)
    return KeysteadError("KS-LAB-001", f"there is no lab {name}")


def place(name: str) -> Path:
    """Where what is attached under ``name`` is kept."""
    return state_home() / "attached" / f"{name}.json"
