"""keystead: a laboratory for vSphere key persistence, for your own tests and scripts.

::

    from keystead import Lab

    with Lab(seed=7) as lab:
        lab.cut("vcenter", "kms")
        lab.reboot("esxi-001")
        lab.wait("vm.locked=vm-01", within="10m")
        assert "com.vmware.vc.vm.Crypto.VMLocked.KMSClusterError" in lab.events()

The package needs nothing but the standard library. It starts the program ``keystead`` and speaks to
it in the JSON of ``keystead schema``.

- ``lab``            ``Lab``, ``AsyncLab``
- ``_commands``      a method for each command, made of ``commands.json``
- ``answers``        the types of answers, for annotations
- ``awaiting``       the same methods for asyncio
- ``connection``     the program's process, and its errors
- ``pytest_plugin``  the fixture ``keystead``
- ``chaostoolkit``   actions and probes for Chaos Toolkit
- ``_launcher``, ``__main__``  start the program
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keystead.connection import Answer, KeysteadError, plain
    from keystead.lab import AsyncLab, Events, Lab

__all__ = ["Answer", "AsyncLab", "Events", "KeysteadError", "Lab", "plain"]


def __getattr__(name: str) -> Any:
    """A name of ``__all__``, imported at its first use: the program itself starts without them."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from keystead import connection, lab

    return getattr(lab, name, None) or getattr(connection, name)
