"""A command that a lab is expected to refuse."""

from __future__ import annotations

import pytest

from lab.client import Lab
from lab.schema.commands import Command
from lab.schema.errors import KeysteadError


async def refused(lab: Lab, command: Command[object], user: str = "") -> KeysteadError:
    """Why it refused ``user`` (empty: the administrator); a failure when it did not."""
    with pytest.raises(KeysteadError) as caught:
        await lab.do(command, user=user)
    return caught.value
