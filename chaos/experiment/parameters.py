"""Parameters of a file: ``with`` has their defaults, ``${NAME}`` in a value stands for one.

A value that is nothing but ``${NAME}`` becomes the parameter with its type; inside a longer text it
becomes text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from chaos.experiment.sections import Sections
from chaos.yaml_file import Path
from protocol.printable import quote

FIELD: Final = "with"
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
_USE: Final = re.compile(r"\$\{([^{}]*)\}")
Value = str | int | float | bool


class Parameters(Sections):
    """Puts the parameters of one document into its values; problems go into the document."""

    def fill(self, data: dict[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
        """``data`` without ``with``, its uses replaced; ``given`` replaces defaults.

        A name that is given and not declared is a problem of the file's ``with``.
        """
        values: dict[str, Any] = {}
        for name, value in self.fields((FIELD,), data.get(FIELD, {})).items():
            if not _NAME.fullmatch(name):
                text = f"{quote(name)} is no name: letters, digits, _ and -, from a letter on"
                self.document.add((FIELD, name), "KS-CHAOS-004", text)
            if not isinstance(value, Value):
                text = f"{name}: a parameter is a text, a number, true or false"
                self.document.add((FIELD, name), "KS-CHAOS-004", text)
            values[name] = value
        for name in given:
            if name not in values:
                self.name((FIELD,), "parameter", name, values, "KS-CHAOS-017")
        values |= given
        rest = {key: value for key, value in data.items() if key != FIELD}
        made: dict[str, Any] = self._put(rest, (), values)
        return made

    def _put(self, value: Any, path: Path, values: Mapping[str, Any]) -> Any:
        if isinstance(value, dict):
            return {key: self._put(item, (*path, key), values) for key, item in value.items()}
        if isinstance(value, list):
            return [self._put(item, (*path, place), values) for place, item in enumerate(value)]
        if not isinstance(value, str) or "${" not in value:
            return value
        whole = _USE.fullmatch(value.strip())
        if whole is not None:
            return self._value(whole[1], path, values)
        return _USE.sub(lambda use: _text(self._value(use[1], path, values)), value)

    def _value(self, name: str, path: Path, values: Mapping[str, Any]) -> Any:
        if name not in values:
            self.name(path, "parameter", name, values, "KS-CHAOS-017")
            return name
        return values[name]


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
