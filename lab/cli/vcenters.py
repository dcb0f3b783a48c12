"""``vcenter backup|restore|rebuild``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.cli.connect import call
from lab.cli.hosts import power
from lab.cli.options import DEFAULTS, Options
from lab.cli.output import document, is_document, say
from lab.schema.commands import Command, VcenterBackup, VcenterRebuild, VcenterRestore

if TYPE_CHECKING:
    from lab.schema.answers import VcenterCopy


def backup(backup: str, *, options: Options = DEFAULTS) -> None:
    """Take a backup of vCenter; it is stopped for it, and started again.

    keystead vcenter backup before-the-change
    keystead vcenter backup nightly --vcenter vcenter-b
    """
    _call_and_report(VcenterBackup(backup), "backup {} of {}", options)


def restore(backup: str, *, options: Options = DEFAULTS) -> None:
    """Restore a backup of vCenter: it knows nothing of what came since.

    keystead vcenter restore before-the-change
    keystead vcenter restore nightly --vcenter vcenter-b
    """
    _call_and_report(VcenterRestore(backup), "restored {} to {}", options)


def rebuild(*, options: Options = DEFAULTS) -> int:
    """Install vCenter anew: it knows no host, no VM, no key provider. Add them again.

    keystead vcenter rebuild
    keystead vcenter rebuild --vcenter vcenter-b
    """
    return power(options, VcenterRebuild())


def _call_and_report(command: Command[VcenterCopy], said: str, options: Options) -> None:
    answer = call(options, command)
    if is_document(options.output):
        document(answer, options.output)
        return
    say(said.format(answer.backup, answer.vcenter))
    if answer.gone:
        say(f"warning: it does not know the key providers {', '.join(answer.gone)} any more")
