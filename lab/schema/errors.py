"""Errors for people: an id, one message, one fix, an exit code. ``explain`` prints this table.

Add an error: one line in ``EXPLANATIONS``; raise it with ``KeysteadError(id, message)``.
"""

from __future__ import annotations

from typing import NamedTuple

from chaos.errors import EXPLANATIONS as CHAOS_EXPLANATIONS
from lab.schema.explained_errors import (
    ARRAY_EXPLANATIONS,
    BROKER_EXPLANATIONS,
    LOAD_EXPLANATIONS,
    MACHINE_EXPLANATIONS,
)
from protocol.printable import printable

USAGE = 64
NOT_RUNNING = 69
UNWRITTEN = 74
SETUP = 78


class ErrorExplanation(NamedTuple):
    """An error: the kind of failure, why it happens, what to do, the exit code."""

    title: str
    why: str
    fix: str
    exit_code: int = 1


EXPLANATIONS: dict[str, ErrorExplanation] = {
    "KS-USE-001": ErrorExplanation(
        "The command line is not understood",
        "keystead has no such command, option or argument.",
        "run `keystead --help`, or `keystead COMMAND --help`",
        USAGE,
    ),
    "KS-USE-002": ErrorExplanation(
        "Nothing has that name",
        "This lab has no host, VM, link, provider, key, fault or run of that name.",
        "list what is there: `keystead get hosts`, and so `vms`, `providers`, `kms`, `links`, "
        "`faults`, `roles`, `runs`",
        USAGE,
    ),
    "KS-USE-003": ErrorExplanation(
        "An argument has an invalid value",
        "Durations need a unit (30s, 5m, 250ms); characters and length of names are limited.",
        "correct the value that the message names",
        USAGE,
    ),
    "KS-USE-004": ErrorExplanation(
        "None of the given cells can be played",
        "The named cells of the truth table do not apply.",
        "`keystead matrix` plays every cell that applies",
        USAGE,
    ),
    "KS-USE-005": ErrorExplanation(
        "No point of the sweep has that name",
        "A point is a storage call of a store's story; its name depends on the code.",
        "`keystead chaos sweep` without `--only` strikes all points; `-o json` names what it found",
        USAGE,
    ),
    "KS-USE-006": ErrorExplanation(
        "This command needs a checkout of keystead",
        "The benchmarks and the crash sweep are for work on keystead itself; an installed package"
        " does not contain them.",
        "clone the repository, and run `./keystead bench` or `./keystead chaos sweep` in it",
        USAGE,
    ),
    "KS-KMIP-001": ErrorExplanation(
        "The folder of a key server cannot be used",
        "Another key server runs in it, it cannot be written, or its disk is full.",
        "stop the other server, free space, or give another folder with `--folder`",
    ),
    "KS-KMIP-002": ErrorExplanation(
        "The key server cannot listen there",
        "Another process uses the port, or this machine does not have the address.",
        "give another address or port with `--listen`; port 0 chooses a free port",
    ),
    "KS-KMIP-003": ErrorExplanation(
        "The key server does not serve from its database",
        "The database was altered, is an older copy, or was written by another version.",
        "restore a copy of its disk; `--accept-rollback` serves from an older database",
    ),
    "KS-KMIP-004": ErrorExplanation(
        "A certificate or a key cannot be used",
        "The file has none in PEM, the key has a pass-phrase or belongs to another certificate, or"
        " the server does not know it.",
        "give a PEM file with the certificate first, and a key without a pass-phrase",
        USAGE,
    ),
    "KS-KMIP-005": ErrorExplanation(
        "A file is not an unchanged part of the audit trail",
        "A row was altered or removed, the file does not begin where the previous one ends, or the"
        " server has no cut there.",
        "use another copy of the file; give several files in their order",
    ),
    "KS-API-001": ErrorExplanation(
        "No API server of this lab runs here",
        "`keystead serve` was not started for this lab on this machine, or has ended.",
        "run `keystead serve --name NAME` in another terminal",
        NOT_RUNNING,
    ),
    "KS-API-002": ErrorExplanation(
        "The packages of the vSphere APIs are missing",
        "pyVmomi, Starlette or uvicorn cannot be imported; they are an optional extra.",
        "./keystead setup   (or pip install 'keystead[vsphere]')",
        SETUP,
    ),
    "KS-API-003": ErrorExplanation(
        "The API server cannot listen there",
        "Another process uses the port, or this machine does not have the address.",
        "give another address or port with `--listen`; port 0 chooses a free port",
    ),
    "KS-API-004": ErrorExplanation(
        "The name of the simulated lab is taken",
        "`keystead serve --sim` gives its lab a name, by which commands of keystead reach it; a lab"
        " of real processes, or another simulated one, has it already.",
        "choose another name with `--name`; `keystead list` shows the labs of real processes",
    ),
    "KS-OUT-001": ErrorExplanation(
        "The output could not be written",
        "Standard output or the named file refused it: no space, a failed disk, no permission, or"
        " no such folder; or a collector of spans did not take them.",
        "free space, or write the output elsewhere; then run the command again",
        UNWRITTEN,
    ),
    "KS-LAB-001": ErrorExplanation(
        "The lab is not running",
        "No supervisor of a lab of this name answers.",
        "start it with `keystead up`, or name another with `--name`; `keystead list` shows all",
        NOT_RUNNING,
    ),
    "KS-LAB-002": ErrorExplanation(
        "A lab of this name is being started or stopped",
        "Another keystead process holds the lab's lock.",
        "wait for it, or choose another name with `--name`",
    ),
    "KS-LAB-003": ErrorExplanation(
        "The lab did not become ready in time",
        "A node did not start, a host was not connected, or a VM did not power on.",
        "read `keystead logs`; `up --retain` keeps a half-started lab; `--timeout` gives more time",
    ),
    "KS-LAB-004": ErrorExplanation(
        "The lab's folder was written by another version",
        "This version of keystead cannot read it.",
        "`keystead down --purge --name NAME`, then `keystead up`",
    ),
    "KS-LAB-005": ErrorExplanation(
        "No space or no permission for the lab's files",
        "Writing to the state folder failed.",
        "free space, or choose another folder with KEYSTEAD_STATE_HOME",
    ),
    "KS-LAB-006": ErrorExplanation(
        "A running lab differs from what `up` asks for",
        "A lab of this name runs with another topology or other options.",
        "`keystead down --purge` first, or start a second lab with `--name`",
    ),
    "KS-LAB-007": ErrorExplanation(
        "The lab ended meanwhile",
        "Its supervisor was killed or stopped, or could not restart a broker or the fork server."
        " Its processes have ended too; the state on disk is kept.",
        "read `keystead logs`; `keystead up` continues from the state on disk",
        NOT_RUNNING,
    ),
    "KS-LAB-008": ErrorExplanation(
        "A file of the lab is missing or damaged",
        "It is not as keystead wrote it: a disk failed, or somebody changed or removed it.",
        "repair what the message names; `keystead down --purge` removes a lab beyond repair",
    ),
    "KS-LAB-009": ErrorExplanation(
        "The lab is up, but parts of it are not",
        "Nodes are off or halted, have lost their process, or hosts are not connected.",
        "`keystead get nodes -o wide` shows their screens, `keystead describe host NAME` explains "
        "the state of a host; `keystead host power-on NAME` starts a node that is off",
    ),
    "KS-LAB-013": ErrorExplanation(
        "The lab runs elsewhere",
        "It is attached: commands reach it, but its files are where it runs. Commands that need the"
        " files work only there, and no lab of the same name starts here.",
        "run the command where the lab runs, or `keystead lab detach NAME`",
        USAGE,
    ),
    "KS-LAB-010": ErrorExplanation(
        "The lab runs, but does not answer",
        "Its supervisor is stopped by a signal, is busy, or cannot reach its control broker.",
        "wait a moment; `keystead down` ends it in any state, then `keystead up` continues",
        NOT_RUNNING,
    ),
    "KS-WAIT-001": ErrorExplanation(
        "The awaited state was not reached in time",
        "A VM, a host or a fault is not in the state that `keystead wait --for` names.",
        "`keystead describe vm NAME` explains the state of a VM; `--timeout` gives more time",
        6,
    ),
    "KS-TOPO-001": ErrorExplanation(
        "The lab file is not valid",
        "It does not follow the schema of `kind: Lab`.",
        "correct the lines that the message names",
        4,
    ),
    "KS-ID-001": ErrorExplanation(
        "The lab's identities are missing or damaged",
        "A file of keys in the lab's folder is missing, or was changed.",
        "`keystead down`, remove the file that the message names, `keystead up`",
    ),
    "KS-TPM-001": ErrorExplanation(
        "The TPM libraries are missing",
        "libtpms or tpm2-pytss cannot be loaded, so hosts cannot have a real TPM.",
        "`./keystead setup` in a checkout, elsewhere `pip install 'keystead[tpm]'`; "
        "or start without TPMs: `keystead up --tpm none`",
        SETUP,
    ),
    "KS-SETUP-001": ErrorExplanation(
        "No suitable Python was found",
        "keystead needs Python 3.11 or newer with venv, and its headers to compile TPM bindings.",
        "name another one: KEYSTEAD_PYTHON=PATH ./keystead ...",
        SETUP,
    ),
    "KS-SETUP-002": ErrorExplanation(
        "System packages are missing, and this is not Debian",
        "`./keystead` installs Debian packages only; the message names the missing parts.",
        "install what `./keystead setup --print` names for your system, or `up --tpm none`",
        SETUP,
    ),
    "KS-SETUP-003": ErrorExplanation(
        "Debian packages are missing, and this user may not install them",
        "The user is not root, and there is no sudo.",
        "run the line of the message as root, or `./keystead up --tpm none`",
        SETUP,
    ),
    "KS-SETUP-004": ErrorExplanation(
        "Debian packages are missing, and the answer was no",
        "Nothing was installed.",
        "run the line of the message yourself, or `./keystead up --tpm none`",
        SETUP,
    ),
    "KS-SETUP-005": ErrorExplanation(
        "Debian packages are missing, and there is no terminal to ask on",
        "Without a terminal `./keystead` does not guess what you want.",
        "add `--yes` (or CI=true), or run the line of the message yourself",
        SETUP,
    ),
    "KS-SETUP-006": ErrorExplanation(
        "The Debian packages could not be installed",
        "apt-get failed; its last lines are above the message.",
        "correct what apt-get names, then start again",
        SETUP,
    ),
    "KS-SETUP-007": ErrorExplanation(
        "The environment could not be created",
        "`python -m venv` failed; its last lines are above the message.",
        "free space in this checkout, or choose another Python with KEYSTEAD_PYTHON",
        SETUP,
    ),
    "KS-SETUP-008": ErrorExplanation(
        "uv could not be installed",
        "pip failed to fetch the version that requirements.lock pins, or its hash differs.",
        "check that pip reaches its package index, then start again",
        SETUP,
    ),
    "KS-SETUP-009": ErrorExplanation(
        "The packages could not be installed",
        "uv failed to fetch, check or compile what requirements.lock pins.",
        "read the lines above the message; `up --tpm none` needs no compiler",
        SETUP,
    ),
    "KS-SETUP-010": ErrorExplanation(
        "keystead could not be installed into its environment",
        "The build of this checkout failed; its last lines are above the message.",
        "check that pyproject.toml is unchanged, then start again",
        SETUP,
    ),
    "KS-SETUP-011": ErrorExplanation(
        "A folder that the setup needs cannot be written",
        "The checkout or the temporary folder is read-only or belongs to another user.",
        "build elsewhere with KEYSTEAD_VENV=FOLDER; TMPDIR=FOLDER moves temporary files",
        SETUP,
    ),
    "KS-RUN-001": ErrorExplanation(
        "No run has that name",
        "No stored run has that name.",
        "`keystead get runs` lists them",
        USAGE,
    ),
    "KS-RUN-002": ErrorExplanation(
        "This run cannot be replayed exactly",
        "It ran in lab mode, or with another version of keystead, Python or the packages.",
        "run the experiment again with its seed: `keystead chaos run NAME --mode sim --seed N`",
        4,
    ),
    "KS-RUN-003": ErrorExplanation(
        "The replay differs from the run",
        "The same seed gave another trace, so the run is not deterministic.",
        "keep both histories and report the first difference that the message names",
        5,
    ),
    "KS-RUN-004": ErrorExplanation(
        "A file of a run is damaged",
        "It is not as keystead wrote it: a disk failed, or somebody changed it.",
        "restore it from a copy, or remove the run's folder (`keystead get runs -o wide`)",
        4,
    ),
    "KS-RUN-005": ErrorExplanation(
        "This campaign cannot continue",
        "Its folder has seeds with other options, or of another version of the code.",
        "choose another name with --campaign, or remove its folder",
        USAGE,
    ),
    "KS-RUN-006": ErrorExplanation(
        "There is nothing to shrink",
        "The experiment does not fail in the simulation, or its lab is not a default one.",
        "`keystead chaos run FILE --mode sim --seed N` shows the verdict; give the seed that fails",
        USAGE,
    ),
    "KS-RUN-007": ErrorExplanation(
        "Another process plays this campaign",
        "A campaign is played by one process at a time.",
        "choose another name with --campaign, or wait until the other process has ended",
        USAGE,
    ),
    "KS-PRODUCT-001": ErrorExplanation(
        "The product refused the request",
        "vCenter, a host or a key server answered with a fault; its text follows.",
        "the message names the remedy if there is one; else it names the obstacle, and "
        "`keystead describe` explains the state of the object",
    ),
    "KS-INT-001": ErrorExplanation(
        "Something failed inside keystead",
        "This is a defect of keystead.",
        "keep the lab's folder (`keystead status` names it) and report it with the log",
        70,
    ),
    **{name: ErrorExplanation(*said) for name, said in BROKER_EXPLANATIONS.items()},
    **{name: ErrorExplanation(*said) for name, said in LOAD_EXPLANATIONS.items()},
    **{name: ErrorExplanation(*said) for name, said in MACHINE_EXPLANATIONS.items()},
    **{name: ErrorExplanation(*said) for name, said in ARRAY_EXPLANATIONS.items()},
}


def explanation_of(error_id: str) -> ErrorExplanation | None:
    """The explanation of an id, of these or of ``chaos.errors``; None for an unknown id."""
    found = EXPLANATIONS.get(error_id)
    chaos = CHAOS_EXPLANATIONS.get(error_id)
    if found is None and chaos is not None:
        # 0xx: files (4), 201: steady state (3), faults and runs that went wrong: harness (5).
        code = 4 if error_id < "KS-CHAOS-100" else 3 if error_id == "KS-CHAOS-201" else 5
        found = ErrorExplanation(chaos.title, chaos.text, chaos.fix, code)
    return found


def all_ids() -> list[str]:
    """Every id that ``explain`` knows, sorted."""
    return sorted({*EXPLANATIONS, *CHAOS_EXPLANATIONS})


OF_MANY_CAUSES: frozenset[str] = frozenset({"KS-PRODUCT-001", "KS-CHAOS-102"})
"""Ids whose remedy differs for each refusal: the message has it, or there is none."""


class KeysteadError(Exception):
    """An error with an explanation.

    ``str()`` is the message. ``fix`` says what to do; its default is the fix of the explanation, or
    nothing for ids ``OF_MANY_CAUSES``. When the product refused (KS-PRODUCT-001), ``fault`` is the
    name of the vim25 fault, or empty, and ``keys`` are the keys concerned, as ``provider/id``.
    """

    def __init__(
        self,
        error_id: str,
        message: str = "",
        fix: str = "",
        fault: str = "",
        keys: tuple[str, ...] = (),
    ) -> None:
        found = explanation_of(error_id)
        if found is None:
            raise KeyError(error_id)
        super().__init__(printable(message or found.title))
        self.id = error_id
        self.fix = printable(fix or ("" if error_id in OF_MANY_CAUSES else found.fix))
        self.exit_code = found.exit_code
        self.fault, self.keys = fault, keys

    def __reduce__(self) -> tuple[type[KeysteadError], tuple[object, ...]]:
        """Pickle all fields, so that the error can leave a worker process."""
        return type(self), (self.id, str(self), self.fix, self.fault, self.keys)
