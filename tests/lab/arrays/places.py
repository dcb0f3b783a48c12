"""Folders of the datastore ``common``, as a machine of the lab ``far`` looks at them."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.arrays.shared_datastore import SharedDatastore
from lab.schema.errors import KeysteadError

ID = "the id"


def place(folder: Path, machine: str = "east") -> SharedDatastore:
    return SharedDatastore(folder, "common", machine)


def refused(
    work: SharedDatastore, fresh: bool = True, lab: str = "far", id: str = ID
) -> KeysteadError:
    with pytest.raises(KeysteadError) as found:
        work.show(lab, id, fresh)
    return found.value
