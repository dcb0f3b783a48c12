"""Errors for people: an id, one message, one fix, an exit code. ``explain`` prints this table.

Add an error: one line in ``EXPLANATIONS``; raise it with ``KeysteadError(id, message)``.
"""

from __future__ import annotations

from typing import NamedTuple

from chaos.errors import EXPLANATIONS as CHAOS_EXPLANATIONS
from lab.schema.explanations.arrays import EXPLANATIONS as ARRAY_EXPLANATIONS
from lab.schema.explanations.brokers import EXPLANATIONS as BROKER_EXPLANATIONS
from lab.schema.explanations.load import EXPLANATIONS as LOAD_EXPLANATIONS
from lab.schema.explanations.machines import EXPLANATIONS as MACHINE_EXPLANATIONS
from protocol.printable import printable

USAGE = 64
NOT_RUNNING = 69
UNWRITTEN = 74
SETUP = 78


class ErrorExplanation(NamedTuple):
    """What an id means: the kind of failure, why it happens, what to do, the exit code."""

    title: str
    why: str
    fix: str
    exit_code: int = 1


EXPLANATIONS: dict[str, ErrorExplanation] = {
    "KS-USE-001": ErrorExplanation(
        "The command line is not understood",
        "A command, option or argument is not one of this program.",
        "run `keystead --help`, or `keystead COMMAND --help`",
        USAGE,
    ),
    "KS-USE-002": ErrorExplanation(
        "There is nothing of that name",
        "A host, VM, link, provider, key, fault or run of that name is not in this lab.",
        "list what is there: `keystead get hosts`, and so `vms`, `providers`, `kms`, `links`, "
        "`faults`, `roles`, `runs`",
        USAGE,
    ),
    "KS-USE-003": ErrorExplanation(
        "An argument has a value that does not fit",
        "Durations need a unit (30s, 5m, 250ms), and each kind of name has its letters and length.",
        "correct the value that the message names",
        USAGE,
    ),
    "KS-USE-004": ErrorExplanation(
        "None of what was asked for can be played",
        "The cells of the truth table that were named do not apply.",
        "`keystead matrix` plays every cell that applies",
        USAGE,
    ),
    "KS-USE-005": ErrorExplanation(
        "No point of the sweep has such a name",
        "A point is a storage call of a store's story; what it is called depends on the code.",
        "`keystead chaos sweep` without `--only` strikes them all; `-o json` names what it found",
        USAGE,
    ),
    "KS-USE-006": ErrorExplanation(
        "This command needs a checkout of keystead",
        "The benchmarks and the crash sweep are for work on keystead itself, so what is installed"
        " does not have them.",
        "clone the repository, and run `./keystead bench` or `./keystead chaos sweep` in it",
        USAGE,
    ),
    "KS-KMIP-001": ErrorExplanation(
        "The folder of a key server cannot be used",
        "Another key server runs in it, it cannot be written, or its disk is full.",
        "end the other one, make room, or give another folder with `--folder`",
    ),
    "KS-KMIP-002": ErrorExplanation(
        "The key server cannot listen there",
        "Something else has the port, or the address is none of this machine.",
        "give another address or port with `--listen`; port 0 is any that is free",
    ),
    "KS-KMIP-003": ErrorExplanation(
        "The key server does not serve from what it finds",
        "Its database was altered, is an older one, or was written by another version.",
        "put a copy of its disk back; `--accept-rollback` serves from an older database",
    ),
    "KS-KMIP-004": ErrorExplanation(
        "A certificate or a key cannot be used",
        "The file has none in PEM, the key has a pass-phrase or is another certificate's, or the"
        " server does not know it.",
        "give a PEM file with the certificate first, and a key without a pass-phrase",
        USAGE,
    ),
    "KS-KMIP-005": ErrorExplanation(
        "A file is not the part of an audit trail that it was",
        "A row was altered or removed, it does not begin where the file before it ends, or the"
        " server was never cut there.",
        "take another copy of the file; give several in their order",
    ),
    "KS-API-001": ErrorExplanation(
        "No API server of this lab runs here",
        "`keystead serve` was not started for it on this machine, or has ended.",
        "`keystead serve --name NAME`, in a terminal of its own",
        NOT_RUNNING,
    ),
    "KS-API-002": ErrorExplanation(
        "The packages of the vSphere APIs are missing",
        "pyVmomi, Starlette or uvicorn cannot be imported: they are an extra.",
        "./keystead setup   (or pip install 'keystead[vsphere]')",
        SETUP,
    ),
    "KS-API-003": ErrorExplanation(
        "The API server cannot listen there",
        "Something else has the port, or the address is none of this machine.",
        "give another address or port with `--listen`; port 0 is any that is free",
    ),
    "KS-OUT-001": ErrorExplanation(
        "What the command shows could not be written",
        "Standard output, or the file that was named, refused it: it has no room, its disk failed,"
        " or nobody may write there, or there is no such folder.",
        "make room where the output goes, or send it elsewhere; then ask again",
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
        "The lab's folder is of another version",
        "It was written by a version of keystead that this one does not read.",
        "`keystead down --purge --name NAME`, then `keystead up`",
    ),
    "KS-LAB-005": ErrorExplanation(
        "There is no room or no permission for the lab's files",
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
        "Its supervisor was killed or told to stop, or could not have a broker or the fork server"
        " again. Its processes leave with it; state on disk is kept.",
        "`keystead logs`, then `keystead up` goes on from the state on disk",
        NOT_RUNNING,
    ),
    "KS-LAB-008": ErrorExplanation(
        "A file of the lab is missing or damaged",
        "It is not as keystead wrote it: a disk failed, or somebody changed or removed it.",
        "what the message names; `keystead down --purge` removes a lab that cannot be mended",
    ),
    "KS-LAB-009": ErrorExplanation(
        "The lab is up, but not all of it",
        "Nodes are off, halted or without their process, or hosts are not connected.",
        "`keystead get nodes -o wide` shows their screens, `keystead describe host NAME` says why "
        "of a host; `keystead host power-on NAME` starts what is off",
    ),
    "KS-LAB-013": ErrorExplanation(
        "The lab runs elsewhere",
        "It was attached: commands reach it, and its files are where it runs. What works on these"
        " is done there, and no lab of its name is started here.",
        "do it where the lab runs, or `keystead lab detach NAME`",
        USAGE,
    ),
    "KS-LAB-010": ErrorExplanation(
        "The lab runs, but does not answer",
        "Its supervisor is stopped by a signal, or busy, or cannot reach its control broker.",
        "wait a moment; `keystead down` ends it however it is, `keystead up` goes on",
        NOT_RUNNING,
    ),
    "KS-WAIT-001": ErrorExplanation(
        "What was waited for did not come in time",
        "A VM, a host or a fault is not as `keystead wait --for` wants it.",
        "`keystead describe vm NAME` says why it is so; `--timeout` gives more time",
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
        "A file of keys under the lab's folder is not there, or not as it was written.",
        "`keystead down`, remove the file that the message names, `keystead up`: it is made anew",
    ),
    "KS-TPM-001": ErrorExplanation(
        "There are no TPM libraries",
        "libtpms or tpm2-pytss cannot be loaded, so hosts cannot have a real TPM.",
        "`./keystead setup` in a checkout, elsewhere `pip install 'keystead[tpm]'`; "
        "or start without TPMs: `keystead up --tpm none`",
        SETUP,
    ),
    "KS-SETUP-001": ErrorExplanation(
        "There is no Python that fits",
        "keystead needs Python 3.11 or newer with venv, and its headers to compile TPM bindings.",
        "name another: KEYSTEAD_PYTHON=PATH ./keystead ...",
        SETUP,
    ),
    "KS-SETUP-002": ErrorExplanation(
        "Parts of the system are missing, and this is no Debian",
        "`./keystead` installs Debian packages only; the message names the parts it looked for.",
        "install what `./keystead setup --print` names for your system, or `up --tpm none`",
        SETUP,
    ),
    "KS-SETUP-003": ErrorExplanation(
        "Debian packages are missing, and nobody here may install them",
        "This is not root, and there is no sudo.",
        "have root run the line of the message, or `./keystead up --tpm none`",
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
        "The environment could not be made",
        "`python -m venv` failed; its last lines are above the message.",
        "free space in this checkout, or choose another Python with KEYSTEAD_PYTHON",
        SETUP,
    ),
    "KS-SETUP-008": ErrorExplanation(
        "uv could not be installed",
        "pip failed to fetch the version that requirements.lock pins, or its hash differs.",
        "see that pip reaches its package index, then start again",
        SETUP,
    ),
    "KS-SETUP-009": ErrorExplanation(
        "The packages could not be installed",
        "uv failed to fetch, check or compile what requirements.lock pins.",
        "read the lines above the message; `up --tpm none` needs no compiler",
        SETUP,
    ),
    "KS-SETUP-010": ErrorExplanation(
        "keystead could not be put into its environment",
        "The build of this checkout failed; its last lines are above the message.",
        "see that pyproject.toml is as it was committed, then start again",
        SETUP,
    ),
    "KS-SETUP-011": ErrorExplanation(
        "A folder that the set-up needs cannot be written",
        "The checkout, or the temporary folder, is read-only or another user's.",
        "build elsewhere with KEYSTEAD_VENV=FOLDER; TMPDIR=FOLDER moves temporary files",
        SETUP,
    ),
    "KS-RUN-001": ErrorExplanation(
        "There is no such run",
        "No stored run has this name.",
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
        "The same seed gave another trace: determinism is broken.",
        "keep both histories and report the first difference that the message names",
        5,
    ),
    "KS-RUN-004": ErrorExplanation(
        "A file of a run is damaged",
        "It is not as keystead wrote it: a disk failed, or somebody changed it.",
        "put it back from a copy, or remove the run's folder (`keystead get runs -o wide`)",
        4,
    ),
    "KS-RUN-005": ErrorExplanation(
        "This campaign cannot go on",
        "Its folder has seeds of other options, or of another version of the code.",
        "give it another --campaign, or remove its folder",
        USAGE,
    ),
    "KS-RUN-006": ErrorExplanation(
        "There is nothing to shrink",
        "The experiment does not fail in the simulation, or its lab is no default one.",
        "`keystead chaos run FILE --mode sim --seed N` shows how it ends; give the seed that fails",
        USAGE,
    ),
    "KS-RUN-007": ErrorExplanation(
        "This campaign is being played",
        "Another process plays seeds of it.",
        "give this one another --campaign, or wait until that one has ended",
        USAGE,
    ),
    "KS-PRODUCT-001": ErrorExplanation(
        "The product refused",
        "vCenter, a host or a key server answered with a fault; its text follows.",
        "the message says what helps where one thing does; else its text says what is in the way, "
        "and `keystead describe` on the object why it is as it is",
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
    """What an id means, one of these or of the harness's; None when there is no such id."""
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
"""What helps differs for each refusal: it comes with the message, or there is none."""


class KeysteadError(Exception):
    """An error with an explanation: ``str()`` is the message, ``fix`` what to do about it (the
    explanation's own when none is given, unless the id is one ``OF_MANY_CAUSES``).

    Of a refusal of the product (KS-PRODUCT-001), ``fault`` is the name of its vim25 fault, empty
    where it has none, and ``keys`` are the keys concerned, as ``provider/id``.
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
        """It comes out of a worker process as it is."""
        return type(self), (self.id, str(self), self.fix, self.fault, self.keys)
