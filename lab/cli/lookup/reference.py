"""``explain fault|action|...``: what an experiment's file can name."""

from __future__ import annotations

import textwrap
from typing import Annotated

from cyclopts import Parameter

from lab.cli.asked import Format
from lab.cli.names import COMPLETERS
from lab.cli.options import LAB_DEFAULTS, LabOptions
from lab.cli.output import document, is_document, plain, show, table
from lab.schema.tables import field

WIDTH = 96  # characters of a line of text


def fault(
    kind: Annotated[str, Parameter(completer=COMPLETERS["fault"])] = "",
    *,
    options: LabOptions = LAB_DEFAULTS,
) -> None:
    """Explain a kind of fault and its fields, with an example; without a kind, list all.

    keystead explain fault
    keystead explain fault link.cut
    """
    explain_named("fault", kind, options)


def action(
    kind: Annotated[str, Parameter(completer=COMPLETERS["action"])] = "",
    *,
    options: LabOptions = LAB_DEFAULTS,
) -> None:
    """Explain an action of a schedule and its fields; without a kind, list all actions.

    keystead explain action
    keystead explain action esx.persistence.enable
    """
    explain_named("action", kind, options)


def entry(
    way: Annotated[str, Parameter(completer=COMPLETERS["entry"])] = "",
    *,
    options: LabOptions = LAB_DEFAULTS,
) -> None:
    """Explain a form of a schedule entry; without a name, list all forms.

    keystead explain entry
    keystead explain entry rolling
    """
    explain_named("entry", way, options)


def probe(
    probe_name: Annotated[str, Parameter(completer=COMPLETERS["probe"])] = "",
    *,
    options: LabOptions = LAB_DEFAULTS,
) -> None:
    """Explain a probe of a hypothesis and its unit; without a name, list all probes.

    keystead explain probe
    keystead explain probe vm.running
    """
    explain_named("probe", probe_name, options)


def op(
    operation: Annotated[str, Parameter(completer=COMPLETERS["op"])] = "",
    *,
    options: LabOptions = LAB_DEFAULTS,
) -> None:
    """Explain an operation of a workload; without a name, list all operations.

    keystead explain op
    keystead explain op key.create
    """
    explain_named("op", operation, options)


def check(
    check_name: Annotated[str, Parameter(completer=COMPLETERS["check"])] = "",
    *,
    options: LabOptions = LAB_DEFAULTS,
) -> None:
    """Explain a check of runs; without a name, list all checks.

    keystead explain check
    keystead explain check needs_no_kms
    """
    explain_named("check", check_name, options)


def selector(
    form: Annotated[str, Parameter(completer=COMPLETERS["selector"])] = "",
    *,
    options: LabOptions = LAB_DEFAULTS,
) -> None:
    """Explain the selectors of nodes and VMs, in files and on the command line.

    keystead explain selector
    keystead explain selector "25% of role:esxi"
    """
    explain_named("selector", form, options)


def guard(
    guard_name: Annotated[str, Parameter(completer=COMPLETERS["guard"])] = "",
    *,
    options: LabOptions = LAB_DEFAULTS,
) -> None:
    """Explain a guard, which limits a run; without a name, list all guards.

    keystead explain guard
    keystead explain guard blast_radius
    """
    explain_named("guard", guard_name, options)


def explain_named(noun: str, name: str, options: LabOptions) -> None:
    """The entry of ``noun`` called ``name``, or all of that noun when ``name`` is empty."""
    from lab.local.explain import reference, references

    if not name:
        columns = (field("name"), field("text"))
        show(references(noun), options.output, columns, (field("example"),), key="name")
        return
    found = reference(noun, name)
    if is_document(options.output):
        document(found, options.output)
        return
    entry = found.entry
    if options.output is Format.NAME:
        plain(entry.name)
        return
    plain(textwrap.fill(f"{entry.name}: {entry.text}", WIDTH, break_on_hyphens=False))
    if entry.fields:
        needed = ("NEEDED", lambda row: "yes" if row.required else "")
        plain("")
        table((field("name", "FIELD"), field("values"), field("default"), needed), entry.fields)
    plain(f"\n  {entry.example}")


REFERENCES = (fault, action, entry, probe, op, check, selector, guard)
"""The commands that ``explain`` has for them."""
