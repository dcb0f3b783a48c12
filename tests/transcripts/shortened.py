"""What a transcript leaves out: only what follows from another place, which is compared here.

An error's exit code and fix follow from its explanation, a YAML document from the same one in JSON.
Of a document a transcript has what differs from the last one of its kind, of a text that it has
already the command that printed it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from lab.schema.errors import OF_MANY_CAUSES, explanation_of

WIDTH: Final = 110  # characters of a line of a document
NO_FIX: Final = "  without its fix"
_ERROR = re.compile(r"^keystead: error (KS-[A-Z]+-\d+):")
_SHORT = 3  # lines of a text that is written again


def usual_code(err: str) -> int:
    """The exit code that goes with these lines of standard error."""
    found = _ERROR.match(err)
    explained = explanation_of(found[1]) if found else None
    return 0 if explained is None else explained.exit_code


def without_usual_fix(err: str) -> str:
    """Lines of standard error; ``NO_FIX`` where the fix of the explanation had to follow."""
    lines = err.splitlines()
    found = _ERROR.match(err)
    explained = explanation_of(found[1]) if found else None
    if found is None or explained is None or found[1] in OF_MANY_CAUSES:
        return err
    usual = f"  fix: {explained.fix}"
    if lines[1:2] == [usual]:
        del lines[1]
    elif not any(line.startswith("  fix: ") for line in lines):
        lines.insert(1, NO_FIX)
    return "".join(f"{line}\n" for line in lines)


def document_in(out: str) -> Any:
    """The document that standard output is, or None; it is printed as documents are."""
    if out.startswith("{\n"):
        document = json.loads(out)
        assert out == as_printed(document)
        return document
    if out.startswith("apiVersion: "):
        document = yaml.safe_load(out)
        assert out == yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
        return document
    return None


def as_printed(document: Any) -> str:
    """As ``-o json`` prints it."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


@dataclass
class Before:
    """What a transcript has already."""

    documents: dict[str, Any] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)

    def show_document(self, document: Any) -> str:
        """In as few lines as it has room in, or what differs from the last one of its kind."""
        whole = "\n".join(_rows(document, "", "", WIDTH))
        kind = document.get("kind", "")
        last, self.documents[kind] = self.documents.get(kind), document
        if not kind or last is None:
            return f"{whole}\n"
        if last == document:
            return f"as the last {kind}\n"
        short = "\n".join(_rows(differences(last, document), "", "", WIDTH))
        if short.count("\n") + 1 >= whole.count("\n"):
            return f"{whole}\n"
        return f"as the last {kind}, but\n{short}\n"

    def show_text(self, out: str, command: str) -> str:
        """The text, or the command that printed the same."""
        if out.count("\n") < _SHORT:
            return out
        first = self.texts.setdefault(out, command)
        return out if first == command else f"as for: {first}\n"


_MISSING: Final = object()


def differences(old: Any, new: Any) -> Any:
    """What makes ``new`` of ``old``. A list of objects has each with its first field; what is
    there no longer is ``null`` under ``no NAME``."""
    if isinstance(old, dict) and isinstance(new, dict):
        changed = {
            name: differences(old[name], value) if name in old else value
            for name, value in new.items()
            if old.get(name, _MISSING) != value
        }
        return changed | {f"no {name}": None for name in old if name not in new}
    if isinstance(old, list) and isinstance(new, list) and _named(old) and _named(new):
        known = {_name(item): item for item in old}
        return [
            {**dict([_name(item)]), **differences(known.get(_name(item), {}), item)} for item in new
        ]
    return new


def _named(items: list[Any]) -> bool:
    """Whether all are objects that differ in their first fields."""
    if not items or not all(isinstance(item, dict) and item for item in items):
        return False
    if any(isinstance(_name(item)[1], dict | list) for item in items):
        return False
    return len({_name(item) for item in items}) == len(items)


def _name(item: dict[str, Any]) -> tuple[str, Any]:
    return next(iter(item.items()))


def _rows(value: Any, before: str, after: str, width: int) -> Iterator[str]:
    line = before + json.dumps(value, ensure_ascii=False) + after
    if len(line) <= width or not isinstance(value, dict | list) or not value:
        yield line
        return
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    yield before + opening
    items = value.items() if isinstance(value, dict) else (("", item) for item in value)
    row = ""
    for number, (name, item) in enumerate(items, 1):
        head = f"{json.dumps(name)}: " if isinstance(value, dict) else ""
        own = list(_rows(item, head, "," if number < len(value) else "", width - 2))
        if row and (len(own) > 1 or len(row) + 1 + len(own[0]) > width - 2):
            yield f"  {row}"
            row = ""
        if len(own) > 1:
            yield from (f"  {one}" for one in own)
        else:
            row = f"{row} {own[0]}" if row else own[0]
    if row:
        yield f"  {row}"
    yield closing + after
