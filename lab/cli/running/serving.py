"""A lab for other programs: ``serve``, ``env`` and ``exec`` for vSphere clients, ``api`` by JSON
lines.
"""

from __future__ import annotations

import asyncio
import os
import shlex
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from lab.cli.arguments import check_range
from lab.cli.invocation import Format
from lab.cli.options import LAB_DEFAULTS, LabOptions
from lab.cli.output import plain, say
from lab.schema.errors import KeysteadError

if TYPE_CHECKING:
    from lab.local.vsphere import ApiServing
    from lab.vsphere.executor import Executor, ServedCall


def api() -> None:
    """Control a lab from another program: one JSON request and one JSON answer per line.

    keystead api

    The Python package `keystead` uses this command. The first request opens a lab, which ends with
    the input:

    {"open": {"mode": "sim", "seed": 7, "topology": "default"}}

    {"do": {"command": "link.cut", "a": "vcenter", "b": "kms"}}

    {"wait": ["vm.locked=vm-01"], "within_s": 600}

    An answer is {"answer": ...} or {"error": {"id": ..., "text": ..., "fix": ...}}. `keystead
    schema` prints the schema of all commands and answers.
    """
    import asyncio

    from lab.local.json_lines import serve

    asyncio.run(serve())


def serve(
    *,
    listen: Annotated[
        str, Parameter(help="HOST:PORT; port 0 chooses a free port.")
    ] = "127.0.0.1:8989",
    api_version: Annotated[
        str, Parameter(help="Newest API version to offer. Default: vCenter's.")
    ] = "",
    sim: Annotated[
        str,
        Parameter(help="Lab file (path or shipped name) to run in virtual time."),
    ] = "",
    seed: Annotated[int | None, Parameter(help="Seed of that simulation.")] = None,
    hosts: Annotated[
        bool, Parameter(help="Also serve the ESXi hosts, on the following ports.")
    ] = True,
    page: Annotated[
        int | None,
        Parameter(help="Also serve the page of `watch --web` on this port of loopback; 0: free."),
    ] = None,
    options: LabOptions = LAB_DEFAULTS,
) -> None:
    """Serve the vSphere APIs of a lab, for govc, pyVmomi, Ansible and other clients.

    The command runs until Ctrl-C. The port is closed while vCenter is off. The n-th ESXi host has
    the n-th port after vCenter's, which is closed while the host is off.

    With --sim the time of the lab advances only while a client waits, and in commands such as
    `keystead sleep 6h --name story`. The same seed, commands and requests give the same trace,
    whose hash is printed at the end.

    keystead serve
    keystead serve --sim default --seed 7 --name story
    keystead serve --page 8790
    """
    from lab.local import vsphere

    host, colon, port = listen.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise KeysteadError("KS-USE-003", f"--listen {listen}: write HOST:PORT")
    if page is not None:
        check_range("--page", page, 0, 65535)
    file = str(Path(sim).absolute()) if sim and os.path.exists(sim) else sim
    work = vsphere.serve(
        options.name,
        host.strip("[]"),
        int(port),
        options.vcenter,
        api_version,
        file,
        seed,
        hosts,
        lambda where: _show_addresses(options.name, where),
        lambda trace: say(f"trace {trace}"),
        None if page is None else partial(_serve_page, options.name, page, file),
    )
    asyncio.run(work)


def _serve_page(
    name: str,
    port: int,
    file: str,
    lab: Executor,
    changed: Callable[[], Awaitable[None]],
    calls: Sequence[ServedCall],
) -> AbstractAsyncContextManager[object]:
    from lab.cli.watch.web.serving import page_of_lab

    return page_of_lab(
        name, lab, port, LOOK_EVERY_S, file, say, changed=changed, calls=calls, still=True
    )


def _show_addresses(lab: str, where: ApiServing) -> None:
    say(f"vSphere APIs of {lab} at https://{where.host}:{where.port}/sdk")
    shown = list(where.hosts.items())
    for name, own in shown[:SHOWN]:
        say(f"ESXi host {name} at https://{where.host}:{own}/sdk")
    if shown[SHOWN:]:
        say(f"and {len(shown) - SHOWN} more, up to {shown[-1][0]} at port {shown[-1][1]}")
    say(f'next: eval "$(keystead env --name {shlex.quote(lab)})"')


Host = Annotated[str, Parameter(help="Use the API server of this ESXi host. Default: vCenter's.")]
LOOK_EVERY_S = 1.0
"""Real seconds between two looks of the page."""
SHOWN = 8
"""Hosts whose addresses `serve` prints."""


def env(*, host: Host = "", options: LabOptions = LAB_DEFAULTS) -> None:
    """Print the environment variables with which vSphere clients reach a served lab.

    keystead env
    keystead env --host esxi-001
    keystead env -o json

    To set them in a shell: eval "$(keystead env)".
    """
    from lab.local.vsphere import environment

    found = environment(options.name, host)
    if options.output is Format.JSON:
        import json

        plain(json.dumps(found, indent=2))
        return
    for key, value in found.items():
        plain(f"export {key}={shlex.quote(value)}")


def execute(
    *command: Annotated[str, Parameter(help="Program and arguments, after `--`.")],
    host: Host = "",
    options: LabOptions = LAB_DEFAULTS,
) -> int:
    """Run a program with the variables of `keystead env`; returns the program's exit code.

    keystead exec -- govc ls
    keystead exec -- python runbook.py
    keystead exec --host esxi-001 -- esxcli system version get
    """
    from lab.local.vsphere import environment

    if not command:
        raise KeysteadError("KS-USE-003", "exec: name a program after `--`")
    variables = {**os.environ, **environment(options.name, host)}
    try:
        os.execvpe(command[0], list(command), variables)  # noqa: S606 - what the user named
    except OSError as error:
        raise KeysteadError("KS-USE-003", f"{command[0]}: {error.strerror}") from None
