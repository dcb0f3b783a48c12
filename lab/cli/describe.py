"""``describe vm|host|provider``: what is known, and why. ``explain``: error ids and rules."""

from __future__ import annotations

from typing import Any

from cyclopts import App

from lab.cli.connect import call
from lab.cli.entry import enter
from lab.cli.knobs import knob
from lab.cli.options import DEFAULTS, Format, Options
from lab.cli.output import document, field, is_document, moment, pairs, plain, show, text
from lab.cli.rules import all_rules, rule_of, rules, show_rule
from lab.errors import KeysteadError, all_ids, entry

Row = dict[str, Any]


def describe_vm(vm: str, *, options: Options = DEFAULTS) -> None:
    """A VM: power, keys, and why it is locked or not, with the rule and the cure.

    keystead describe vm vm-01
    keystead describe vm vm-01 -o json
    """
    answer = call(options, "describe.vm", name=vm)
    if _document(answer, options, "vm"):
        return
    seen, own = answer["vcenter"] or {}, answer["host_view"] or {}
    pairs(
        [
            ("vm", answer["vm"]),
            ("host", answer["host"]),
            ("vcenter says", _view(seen, "power", "crypto", "connection")),
            ("its host says", _view(own, "power", "crypto", "connection")),
            ("last command", own.get("wanted")),
            ("lock event", seen.get("lock_event")),
            ("alarms", seen.get("alarms")),
        ]
    )
    if answer["keys"]:
        plain("\nkeys:")
        for key in answer["keys"]:
            server = key["state"] or "not known there, or nobody to ask"
            stored = {True: "stored on the host", False: "not stored on the host", None: ""}
            more = stored[key["stored"]]
            plain(f"  {key['key']}: key server: {server}{'; ' + more if more else ''}")
    _tail(answer)


def describe_host(host: str, *, options: Options = DEFAULTS) -> None:
    """A host: machine, TPM, key persistence, its VMs, and why it is as it is.

    keystead describe host esxi-001
    keystead describe host esxi-001 -o yaml
    """
    answer = call(options, "describe.host", name=host)
    if _document(answer, options, "host"):
        return
    machine, seen, own = answer["machine"], answer["vcenter"] or {}, answer["host_view"] or {}
    tpm = answer["tpm"]
    pairs(
        [
            ("host", answer["host"]),
            ("machine", f"{machine['state']}, boot {machine['boot']}"),
            ("screen", machine["screen"]),
            ("last end", machine["ended"]),
            ("vcenter says", _view(seen, "connection", "crypto_state")),
            ("crypto mode", own.get("crypto_state")),
            ("protection", own.get("protection_mode")),
            ("key persistence", _switch(own.get("key_persistence"))),
            (
                "keys",
                f"{own.get('cached_keys', '-')} in the cache, {own.get('stored_keys', '-')} stored",
            ),
            ("tpm", f"{tpm['backend']}, {tpm.get('state', '-')}"),
            ("vms", [f"{v['vm']} {v['power']}" for v in own.get("vms", [])]),
            ("alarms", seen.get("alarms")),
        ]
    )
    _tail(answer)


def describe_provider(provider: str, *, options: Options = DEFAULTS) -> None:
    """A key provider: its servers, their state, and what stands in the way.

    keystead describe provider kms-provider
    keystead describe provider kms-provider -o json
    """
    answer = call(options, "describe.provider", name=provider)
    if _document(answer, options, "provider"):
        return
    seen = answer["vcenter"] or {}
    pairs(
        [
            ("provider", answer["provider"]),
            ("type", seen.get("management_type")),
            ("servers", [s["name"] for s in seen.get("servers", [])]),
            ("default", seen.get("default")),
            ("status", seen.get("status")),
            ("unreachable", seen.get("unreachable")),
        ]
    )
    _tail(answer)


def _document(answer: Row, options: Options, key: str) -> bool:
    if is_document(options.output):
        document(answer, options.output)
    elif options.output is Format.NAME:
        plain(answer[key])
    else:
        return False
    return True


def _view(row: Row, *names: str) -> str:
    return ", ".join(text(row[n]) for n in names if row.get(n) is not None) or "nothing"


def _switch(value: bool | None) -> str | None:
    return None if value is None else "on" if value else "off"


def _tail(answer: Row) -> None:
    """Why, headline first; then events and faults."""
    if answer["reasons"]:
        plain("\nwhy:")
        for reason in answer["reasons"]:
            plain(f"  {reason['why']} [{reason['rule']}]")
            if reason["cure"]:
                plain(f"      cure: {reason['cure']}")
    if answer["faults"]:
        plain("\nfaults in force:")
        for fault in answer["faults"]:
            plain(f"  {fault}")
    if answer.get("events"):
        plain("\nlast events:")
        for event in answer["events"]:
            plain(f"  {moment(event['at'])}  {event['event']}  {event['text']}")


def explain(id: str = "", *, options: Options = DEFAULTS) -> None:
    """What an error means and what to do about it, or what a rule says; alone: all errors.

    keystead explain KS-LAB-001
    keystead explain LOCK-01
    keystead explain
    """
    if not id:
        items = [_entry(known) for known in all_ids()]
        columns = (field("id"), field("title"), field("exit_code", "EXIT"))
        answer = {"kind": "ErrorList", "items": items}
        show(answer, options.output, columns, (field("why"), field("fix")), key="id")
        return
    rule = rule_of(id)
    if rule is not None:
        show_rule(rule, options.output)
        return
    if entry(id.upper()) is None:
        import difflib

        known_ids = [*all_ids(), *all_rules()]
        near = difflib.get_close_matches(id.upper(), known_ids, n=3, cutoff=0.6)
        more = f"; did you mean {', '.join(near)}?" if near else ""
        raise KeysteadError(
            "KS-USE-002",
            f"there is no error and no rule {id}{more}",
            "`keystead explain` lists errors, `keystead explain rules` lists rules",
        )
    found = _entry(id.upper())
    if _document({"kind": "Error", **found}, options, "id"):
        return
    plain(f"{found['id']}: {found['title']}\n")
    plain(f"  {found['why']}")
    plain(f"  fix: {found['fix']}")
    plain(f"  exit code: {found['exit_code']}")


def _entry(id: str) -> Row:
    found = entry(id)
    return {"id": id, **(found._asdict() if found else {})}


def register(app: App) -> None:
    group = App(
        name="describe",
        help="Everything known of one object, and why it is so.",
        help_format="plaintext",
    )
    enter(group, describe_vm, describe_host, describe_provider, prefix="describe_")
    app.command(group)
    explaining = App(name="explain", help_format="plaintext")
    explaining.default(explain)
    enter(explaining, knob, rules)
    app.command(explaining)
