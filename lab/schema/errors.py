"""Errors for people: an id, one message, one fix, an exit code. ``explain`` prints this table.

Add an error: one line in ``EXPLANATIONS``; raise it with ``KeysteadError(id, message)``.
"""

from __future__ import annotations

from chaos.errors import EXPLANATIONS as CHAOS_EXPLANATIONS
from chaos.errors import Explanation
from protocol.printable import printable

USAGE = 64
NOT_RUNNING = 69
UNWRITTEN = 74
SETUP = 78


EXPLANATIONS: dict[str, Explanation] = {
    "KS-USE-001": Explanation(
        "The command line is not understood",
        "keystead has no such command, option or argument.",
        "run `keystead --help`, or `keystead COMMAND --help`",
        USAGE,
    ),
    "KS-USE-002": Explanation(
        "Nothing has that name",
        "This lab has no host, VM, link, provider, key, fault or run of that name.",
        "list what is there: `keystead get hosts`, and so `vms`, `providers`, `kms`, `links`, "
        "`faults`, `roles`, `runs`",
        USAGE,
    ),
    "KS-USE-003": Explanation(
        "An argument has an invalid value",
        "Durations need a unit (30s, 5m, 250ms); characters and length of names are limited.",
        "correct the value that the message names",
        USAGE,
    ),
    "KS-USE-004": Explanation(
        "None of the given cells can be played",
        "The named cells of the truth table do not apply.",
        "`keystead matrix` plays every cell that applies",
        USAGE,
    ),
    "KS-USE-005": Explanation(
        "No point of the sweep has that name",
        "A point is a storage call of a store's story; its name depends on the code.",
        "`keystead chaos sweep` without `--only` strikes all points; `-o json` names what it found",
        USAGE,
    ),
    "KS-USE-006": Explanation(
        "This command needs a checkout of keystead",
        "The benchmarks and the crash sweep are for work on keystead itself; an installed package"
        " does not contain them.",
        "clone the repository, and run `./keystead bench` or `./keystead chaos sweep` in it",
        USAGE,
    ),
    "KS-KMIP-001": Explanation(
        "The folder of a key server cannot be used",
        "Another key server runs in it, it cannot be written, or its disk is full.",
        "stop the other server, free space, or give another folder with `--folder`",
    ),
    "KS-KMIP-002": Explanation(
        "The key server cannot listen there",
        "Another process uses the port, or this machine does not have the address.",
        "give another address or port with `--listen`; port 0 chooses a free port",
    ),
    "KS-KMIP-003": Explanation(
        "The key server does not serve from its database",
        "The database was altered, is an older copy, or was written by another version.",
        "restore a copy of its disk; `--accept-rollback` serves from an older database",
    ),
    "KS-KMIP-004": Explanation(
        "A certificate or a key cannot be used",
        "The file has none in PEM, the key has a pass-phrase or belongs to another certificate, or"
        " the server does not know it.",
        "give a PEM file with the certificate first, and a key without a pass-phrase",
        USAGE,
    ),
    "KS-KMIP-005": Explanation(
        "A file is not an unchanged part of the audit trail",
        "A row was altered or removed, the file does not begin where the previous one ends, or the"
        " server has no cut there.",
        "use another copy of the file; give several files in their order",
    ),
    "KS-API-001": Explanation(
        "No API server of this lab runs here",
        "`keystead serve` was not started for this lab on this machine, or has ended.",
        "run `keystead serve --name NAME` in another terminal",
        NOT_RUNNING,
    ),
    "KS-API-002": Explanation(
        "The packages of the vSphere APIs are missing",
        "pyVmomi, Starlette or uvicorn cannot be imported; they are an optional extra.",
        "./keystead setup   (or pip install 'keystead[vsphere]')",
        SETUP,
    ),
    "KS-API-003": Explanation(
        "The API server cannot listen there",
        "Another process uses the port, or this machine does not have the address.",
        "give another address or port with `--listen`; port 0 chooses a free port",
    ),
    "KS-API-004": Explanation(
        "The name of the simulated lab is taken",
        "`keystead serve --sim` gives its lab a name, by which commands of keystead reach it; a lab"
        " of real processes, or another simulated one, has it already.",
        "choose another name with `--name`; `keystead list` shows the labs of real processes",
    ),
    "KS-OUT-001": Explanation(
        "The output could not be written",
        "Standard output or the named file refused it: no space, a failed disk, no permission, or"
        " no such folder; or a collector of spans did not take them.",
        "free space, or write the output elsewhere; then run the command again",
        UNWRITTEN,
    ),
    "KS-LAB-001": Explanation(
        "The lab is not running",
        "No supervisor of a lab of this name answers.",
        "start it with `keystead up`, or name another with `--name`; `keystead list` shows all",
        NOT_RUNNING,
    ),
    "KS-LAB-002": Explanation(
        "A lab of this name is being started or stopped",
        "Another keystead process holds the lab's lock.",
        "wait for it, or choose another name with `--name`",
    ),
    "KS-LAB-003": Explanation(
        "The lab did not become ready in time",
        "A node did not start, a host was not connected, or a VM did not power on.",
        "read `keystead logs`; `up --retain` keeps a half-started lab; `--timeout` gives more time",
    ),
    "KS-LAB-004": Explanation(
        "The lab's folder was written by another version",
        "This version of keystead cannot read it.",
        "`keystead down --purge --name NAME`, then `keystead up`",
    ),
    "KS-LAB-005": Explanation(
        "No space or no permission for the lab's files",
        "Writing to the state folder failed.",
        "free space, or choose another folder with KEYSTEAD_STATE_HOME",
    ),
    "KS-LAB-006": Explanation(
        "A running lab differs from what `up` asks for",
        "A lab of this name runs with another topology or other options.",
        "`keystead down --purge` first, or start a second lab with `--name`",
    ),
    "KS-LAB-007": Explanation(
        "The lab ended meanwhile",
        "Its supervisor was killed or stopped, or could not restart a broker or the fork server."
        " Its processes have ended too; the state on disk is kept.",
        "read `keystead logs`; `keystead up` continues from the state on disk",
        NOT_RUNNING,
    ),
    "KS-LAB-008": Explanation(
        "A file of the lab is missing or damaged",
        "It is not as keystead wrote it: a disk failed, or somebody changed or removed it.",
        "repair what the message names; `keystead down --purge` removes a lab beyond repair",
    ),
    "KS-LAB-009": Explanation(
        "The lab is up, but parts of it are not",
        "Nodes are off or halted, have lost their process, or hosts are not connected.",
        "`keystead get nodes -o wide` shows their screens, `keystead describe host NAME` explains "
        "the state of a host; `keystead host power-on NAME` starts a node that is off",
    ),
    "KS-LAB-013": Explanation(
        "The lab runs elsewhere",
        "It is attached: commands reach it, but its files are where it runs. Commands that need the"
        " files work only there, and no lab of the same name starts here.",
        "run the command where the lab runs, or `keystead lab detach NAME`",
        USAGE,
    ),
    "KS-LAB-010": Explanation(
        "The lab runs, but does not answer",
        "Its supervisor is stopped by a signal, is busy, or cannot reach its control broker.",
        "wait a moment; `keystead down` ends it in any state, then `keystead up` continues",
        NOT_RUNNING,
    ),
    "KS-WAIT-001": Explanation(
        "The awaited state was not reached in time",
        "A VM, a host or a fault is not in the state that `keystead wait --for` names.",
        "`keystead describe vm NAME` explains the state of a VM; `--timeout` gives more time",
        6,
    ),
    "KS-TOPO-001": Explanation(
        "The lab file is not valid",
        "It does not follow the schema of `kind: Lab`.",
        "correct the lines that the message names",
        4,
    ),
    "KS-ID-001": Explanation(
        "The lab's identities are missing or damaged",
        "A file of keys in the lab's folder is missing, or was changed.",
        "`keystead down`, remove the file that the message names, `keystead up`",
    ),
    "KS-TPM-001": Explanation(
        "The TPM libraries are missing",
        "libtpms or tpm2-pytss cannot be loaded, so hosts cannot have a real TPM.",
        "`./keystead setup` in a checkout, elsewhere `pip install 'keystead[tpm]'`; "
        "or start without TPMs: `keystead up --tpm none`",
        SETUP,
    ),
    "KS-SETUP-001": Explanation(
        "No suitable Python was found",
        "keystead needs Python 3.11 or newer with venv, and its headers to compile TPM bindings.",
        "name another one: KEYSTEAD_PYTHON=PATH ./keystead ...",
        SETUP,
    ),
    "KS-SETUP-002": Explanation(
        "System packages are missing, and this is not Debian",
        "`./keystead` installs Debian packages only; the message names the missing parts.",
        "install what `./keystead setup --print` names for your system, or `up --tpm none`",
        SETUP,
    ),
    "KS-SETUP-003": Explanation(
        "Debian packages are missing, and this user may not install them",
        "The user is not root, and there is no sudo.",
        "run the line of the message as root, or `./keystead up --tpm none`",
        SETUP,
    ),
    "KS-SETUP-004": Explanation(
        "Debian packages are missing, and the answer was no",
        "Nothing was installed.",
        "run the line of the message yourself, or `./keystead up --tpm none`",
        SETUP,
    ),
    "KS-SETUP-005": Explanation(
        "Debian packages are missing, and there is no terminal to ask on",
        "Without a terminal `./keystead` does not guess what you want.",
        "add `--yes` (or CI=true), or run the line of the message yourself",
        SETUP,
    ),
    "KS-SETUP-006": Explanation(
        "The Debian packages could not be installed",
        "apt-get failed; its last lines are above the message.",
        "correct what apt-get names, then start again",
        SETUP,
    ),
    "KS-SETUP-007": Explanation(
        "The environment could not be created",
        "`python -m venv` failed; its last lines are above the message.",
        "free space in this checkout, or choose another Python with KEYSTEAD_PYTHON",
        SETUP,
    ),
    "KS-SETUP-008": Explanation(
        "uv could not be installed",
        "pip failed to fetch the version that requirements.lock pins, or its hash differs.",
        "check that pip reaches its package index, then start again",
        SETUP,
    ),
    "KS-SETUP-009": Explanation(
        "The packages could not be installed",
        "uv failed to fetch, check or compile what requirements.lock pins.",
        "read the lines above the message; `up --tpm none` needs no compiler",
        SETUP,
    ),
    "KS-SETUP-010": Explanation(
        "keystead could not be installed into its environment",
        "The build of this checkout failed; its last lines are above the message.",
        "check that pyproject.toml is unchanged, then start again",
        SETUP,
    ),
    "KS-SETUP-011": Explanation(
        "A folder that the setup needs cannot be written",
        "The checkout or the temporary folder is read-only or belongs to another user.",
        "build elsewhere with KEYSTEAD_VENV=FOLDER; TMPDIR=FOLDER moves temporary files",
        SETUP,
    ),
    "KS-RUN-001": Explanation(
        "No run has that name",
        "No stored run has that name.",
        "`keystead get runs` lists them",
        USAGE,
    ),
    "KS-RUN-002": Explanation(
        "This run cannot be replayed exactly",
        "It ran in lab mode, or with another version of keystead, Python or the packages.",
        "run the experiment again with its seed: `keystead chaos run NAME --mode sim --seed N`",
        4,
    ),
    "KS-RUN-003": Explanation(
        "The replay differs from the run",
        "The same seed gave another trace, so the run is not deterministic.",
        "keep both histories and report the first difference that the message names",
        5,
    ),
    "KS-RUN-004": Explanation(
        "A file of a run is damaged",
        "It is not as keystead wrote it: a disk failed, or somebody changed it.",
        "restore it from a copy, or remove the run's folder (`keystead get runs -o wide`)",
        4,
    ),
    "KS-RUN-005": Explanation(
        "This campaign cannot continue",
        "Its folder has seeds with other options, or of another version of the code.",
        "choose another name with --campaign, or remove its folder",
        USAGE,
    ),
    "KS-RUN-006": Explanation(
        "There is nothing to shrink",
        "The experiment does not fail in the simulation, or its lab is not a default one.",
        "`keystead chaos run FILE --mode sim --seed N` shows the verdict; give the seed that fails",
        USAGE,
    ),
    "KS-RUN-007": Explanation(
        "Another process plays this campaign",
        "A campaign is played by one process at a time.",
        "choose another name with --campaign, or wait until the other process has ended",
        USAGE,
    ),
    "KS-PRODUCT-001": Explanation(
        "The product refused the request",
        "vCenter, a host or a key server answered with a fault; its text follows.",
        "the message names the remedy if there is one; else it names the obstacle, and "
        "`keystead describe` explains the state of the object",
    ),
    "KS-INT-001": Explanation(
        "Something failed inside keystead",
        "This is a defect of keystead.",
        "keep the lab's folder (`keystead status` names it) and report it with the log",
        70,
    ),
    "KS-ARRAY-001": Explanation(
        "The folder of the datastore differs from that of other machines",
        "Machines whose clusters share a datastore must see the same folder. This machine has"
        " another one, an empty mount point, or sees the writes of others only later.",
        "mount the folder of the other machines there, or name the right one: `--arrays FOLDER`",
    ),
    "KS-ARRAY-002": Explanation(
        "Locks do not hold in the folder of the datastore",
        "A lock on a VM's files keeps two hosts from running it. This file system refuses a lock,"
        " or another process or machine does not see it.",
        "use a file system with POSIX locks between machines: NFS 4 without `nolock`, not a plain"
        " FUSE mount",
    ),
    "KS-ARRAY-003": Explanation(
        "The folder of the datastore cannot promise that a write is durable",
        "A host answers after its write is synced. On this file system a sync of a file or folder"
        " fails, or a replaced file is not whole.",
        "use a file system with fsync of files and folders, and an atomic rename",
    ),
    "KS-ARRAY-004": Explanation(
        "The folder of the datastore cannot be written",
        "It is missing, read-only or not a folder, or this user may not write to it.",
        "mount it so that the user of keystead can write to it",
    ),
    "KS-ARRAY-005": Explanation(
        "The folder of the datastore is full",
        "No file of one MiB can be written there.",
        "free space there, or raise the quota",
    ),
    "KS-ARRAY-006": Explanation(
        "The folder of the datastore has files of others",
        "It has the datastore of another lab or of a purged one, or files that no lab wrote.",
        "give this lab another folder, or remove the files if nobody needs them",
    ),
    "KS-ARRAY-007": Explanation(
        "The folder of the datastore does not answer",
        "A call to its file system did not return in time: its server may be down.",
        "check that the mounted server can be reached, then join again",
    ),
    "KS-BROKER-001": Explanation(
        "nats-server is missing or too old",
        "Neither PATH nor the environment's wheel has a nats-server of at least 2.10.",
        "run `./keystead setup`, or set KEYSTEAD_NATS_SERVER to a newer one",
        SETUP,
    ),
    "KS-BROKER-002": Explanation(
        "The broker did not start",
        "nats-server ended at once, or another program uses its port.",
        "read the broker's log named in the message; free the port, then `keystead up`",
    ),
    "KS-BROKER-003": Explanation(
        "The broker refused its new configuration",
        "A host was added, and nats-server kept the old list of users.",
        "read the broker's log named in the message; `keystead down`, then `keystead up`",
    ),
    "KS-BROKER-004": Explanation(
        "The servers of the bus do not answer",
        "None of the addresses of `bus:` in the Lab file leads to a nats-server that accepts it.",
        "check that the servers run and that the addresses are right, then `keystead up`",
    ),
    "KS-BROKER-005": Explanation(
        "TLS to the servers of the bus fails",
        "The authority that the Lab file names did not issue their certificates, or only one side "
        "uses TLS.",
        "write `bus: {url: tls://HOST:PORT, authority: /path/ca.pem}` in the Lab file, or nats://",
    ),
    "KS-BROKER-006": Explanation(
        "The servers of the bus cannot be used",
        "They are older than 2.10, or refuse messages as large as nodes send.",
        "ask their administrator for a newer version, or for a larger max_payload",
    ),
    "KS-BROKER-007": Explanation(
        "The servers of the bus do not know the lab",
        "The administrator has loaded no accounts and keys of this lab, or older ones.",
        "load what `keystead lab broker-config` prints, then try again",
    ),
    "KS-BROKER-008": Explanation(
        "The permissions at the bus differ from those of the lab",
        "A node may do less than it needs, or more than it should: it could pose as another node.",
        "load what `keystead lab broker-config` prints, then try again",
    ),
    "KS-BROKER-009": Explanation(
        "The servers are not one bus for this lab alone",
        "Messages at one of them do not reach the others, or another lab uses them.",
        "add routes between the servers; give each lab its own name and account",
    ),
    "KS-BROKER-010": Explanation(
        "The servers of the bus take too few connections",
        "Each node of the lab has one connection, the lab has one more at each server, and the"
        " connections of a lost server move to the others.",
        "ask their administrator for a larger max_connections, of the server or of the account",
    ),
    "KS-BROKER-011": Explanation(
        "A certificate of the servers of the bus is not valid now",
        "It has expired or is not yet valid, by the clock of the machine that checked it.",
        "ask their administrator for a new certificate; check the clock of that machine",
    ),
    "KS-BROKER-012": Explanation(
        "A node floods the bus",
        "It sent more than a node may: 5,000 messages or 16 MiB a second for a host, 20,000 or 64 "
        "MiB for any other node, and two seconds of that at once. The broker has closed its "
        "connections and refuses its identity for 60 s; then it may connect again.",
        "find out what the node in the message runs; `keystead describe host` shows whether it is "
        "still refused, docs/listeners.md describes the effect on others",
    ),
    "KS-LOAD-001": Explanation(
        "A threshold does not fit the load",
        "It names an operation that is not in the mix, or its form is not valid.",
        "name an operation of `--mix`, or all, and a limit with its unit, as in"
        " `--threshold 'get.p99 < 50ms'`",
        USAGE,
    ),
    "KS-LOAD-002": Explanation(
        "The load could not start",
        "The server cannot be reached, refuses the client, or does not create its keys.",
        "`keystead kmip replay` with the same arguments says what is wrong, step by step",
    ),
    "KS-LOAD-003": Explanation(
        "The experiment offers no load",
        "Its file has no `load`, so there is nothing to measure.",
        "add `load: {rate: 2/s, for: 5m, mix: {power: 1}}`, or use `keystead chaos run`",
        USAGE,
    ),
    "KS-LOAD-004": Explanation(
        "No such load is running",
        "No load was started, it has ended, or its process was killed.",
        "`keystead runs --newest` lists the stored loads; a load in virtual time needs its steps"
        " from the start, as in `--rate 100/s:1m,400/s:1m`",
        NOT_RUNNING,
    ),
    "KS-LOAD-005": Explanation(
        "Several loads are running",
        "Each of them has its own rate.",
        "name the run: `keystead load rate 400/s RUN`",
        USAGE,
    ),
    "KS-LOAD-006": Explanation(
        "A load in virtual time cannot be changed while it runs",
        "Its seed fixes all operations, so that it can be replayed.",
        "give it steps from the start, as in `--rate 1/s:1m,4/s:1m`",
        USAGE,
    ),
    "KS-LOAD-007": Explanation(
        "The load cannot take that rate now",
        "It has not started, or would have more operations than one load may have.",
        "wait for its first progress line, or give a lower rate",
    ),
    "KS-AGENT-001": Explanation(
        "The lab cannot listen there",
        "Another process uses the port, or this machine does not have the address.",
        "give another address or port with `keystead up --listen`; port 0 chooses a free port",
    ),
    "KS-AGENT-002": Explanation(
        "The bundle cannot be read",
        "The file is not a bundle of keystead, or it was damaged or edited.",
        "copy the original again, or write a new one: `keystead lab bundle`",
        4,
    ),
    "KS-AGENT-003": Explanation(
        "No bundle can be written",
        "The Lab file has no machine of that name, or the lab does not listen yet.",
        "name a machine of the file's `machines:`, while `keystead up` runs or has run",
        USAGE,
    ),
    "KS-AGENT-004": Explanation(
        "The lab does not accept this bundle",
        "A bundle is for one machine and a limited time: it was used on another machine, has"
        " expired, was edited, or a newer one replaces it.",
        "write a new one where the lab runs: `keystead lab bundle MACHINE -o FILE`",
    ),
    "KS-AGENT-005": Explanation(
        "Another agent of this machine is running",
        "A machine has one agent, so that no node is alive twice.",
        "end the other agent; the lab forgets a killed agent when its lease has expired",
    ),
    "KS-AGENT-006": Explanation(
        "The lab cannot be reached",
        "Nothing answers at the address of the bundle, or of the file of `keystead lab access`.",
        "check that `keystead up --listen` runs there, and that this machine can reach its port",
        NOT_RUNNING,
    ),
    "KS-AGENT-007": Explanation(
        "Several machines are not available here",
        "A lab whose file has `machines:` needs a supervisor that machines can join.",
        "start it with `keystead up FILE`, or play it on this machine with `--mode sim`",
        4,
    ),
    "KS-AGENT-008": Explanation(
        "The machine has gone",
        "Its agent ended, or sent nothing for the time of its lease.",
        "start it there again: `keystead agent join FILE`; `keystead get machines` shows all",
    ),
    "KS-AGENT-009": Explanation(
        "The folder belongs to another machine",
        "The folder of a machine was copied to another one, so that nodes could run twice.",
        "remove the copy, and join with a bundle for this machine",
    ),
    "KS-AGENT-010": Explanation(
        "The clock of a machine was not known well enough",
        "Lab time there is an offset that is measured over the network. The network was slow or"
        " lost beats, or the machine stood still. Measurements of that time do not count.",
        "see `keystead get machines -o wide`; repeat the run on a quieter network",
        5,
    ),
    "KS-AGENT-011": Explanation(
        "Another lab answers at the address",
        "At the address of the file answers another lab, no lab at all, or this lab created anew,"
        " which does not know the earlier keys.",
        "check which lab listens there (`keystead list`); write a new file where it runs: `keystead"
        " lab bundle`, or `keystead lab access`",
    ),
    "KS-AGENT-012": Explanation(
        "The machine cannot take connections for its nodes",
        "Another process uses the port that the Lab file names for it, or this machine does not"
        " have the address.",
        "name another `address:` of the machine in the Lab file, or a port that is free there",
    ),
}


def explanation_of(error_id: str) -> Explanation | None:
    """The explanation of an id, of these or of ``chaos.errors``; None for an unknown id."""
    found = EXPLANATIONS.get(error_id)
    chaos = CHAOS_EXPLANATIONS.get(error_id)
    if found is None and chaos is not None:
        # 0xx: files (4), 201: steady state (3), faults and runs that went wrong: harness (5).
        code = 4 if error_id < "KS-CHAOS-100" else 3 if error_id == "KS-CHAOS-201" else 5
        found = chaos._replace(exit_code=code)
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
