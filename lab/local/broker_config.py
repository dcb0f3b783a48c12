"""The file for the administrator of servers that carry a lab's messages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lab.brokers.foreign_servers import broker_config
from lab.local.labs import DEFAULT_FILE, lab_file
from lab.schema.errors import KeysteadError
from lab.state.state_folder import LabFolder
from lab.topology.lab_file import LabFile
from lab.topology.plan import plan


def text_for(name: str, file: str, changes: dict[str, Any]) -> str:
    """For the lab ``name`` as it is there, or as ``file`` and ``changes`` would make it. Hosts that
    came later are in it, too. KS-LAB-001 when neither a lab nor a file is named."""
    folder = LabFolder(name)
    record = folder.record()
    if file or changes:
        made = lab_file(file or DEFAULT_FILE, changes, folder.name)
    elif record is not None:
        made = record.file
    else:
        text = f"there is no lab {folder.name}"
        raise KeysteadError("KS-LAB-001", text, "name the Lab file that it will be made of")
    return broker_config(plan(LabFile.model_validate(made)))


def write_new_file(file: Path, text: str) -> None:
    """A file that is there is somebody's: KS-USE-003."""
    try:
        with file.open("x", encoding="utf-8") as out:
            out.write(text)
    except FileExistsError:
        raise KeysteadError("KS-USE-003", f"{file} is there already", "name another file") from None
    except OSError as error:
        raise KeysteadError("KS-OUT-001", f"{file}: {error.strerror or error}") from None
