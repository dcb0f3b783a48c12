"""A command is sent to a running lab, and its answer printed: as a table, a message, a page or a
document. Every ``get`` can choose by name, sort, omit headings and watch.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from lab.cli.invocation import Asked, Format
from lab.cli.output import document, is_document, json_line, plain, say, show, show_one
from lab.cli.streams import flush
from lab.schema.commands import Command, answer_type, words_of
from lab.schema.errors import KeysteadError
from lab.schema.tables import Column, ColumnTable, Row, field, table_of, text, value_of
from lab.state.state_folder import LabFolder

if TYPE_CHECKING:
    from lab.cli.options import LabOptions, View


Reply = TypeVar("Reply")


def call(options: Asked, command: Command[Reply]) -> Reply:
    """Execute a command in a running lab; its answer. Progress of long commands is on stderr."""
    user: str = getattr(options, "user", "")
    if not command.changes:
        from lab.local.direct_query import ask

        if (answer := ask(options.name, command, options.vcenter, user)) is not None:
            return answer
    # The control plane takes as long to import as the rest of the command line.
    import asyncio

    from lab.cli.progress import Latest, showing_progress
    from lab.local.remote import Remote

    async def one() -> Reply:
        async with Remote(LabFolder(options.name), options.vcenter, user) as lab:
            if not sys.stderr.isatty() or options.quiet:
                return await lab.do(command)
            told = Latest(words_of(type(command)))
            await lab.follow(told.hear)
            return await showing_progress(lab.do(command), told.text)

    return asyncio.run(one())


LOOK_EVERY_S = 0.5  # real seconds between two looks of --watch
A = TypeVar("A", bound=msgspec.Struct)


class Listing:
    """One kind of list, with its table."""

    def __init__(self, table: ColumnTable) -> None:
        self.table = table

    def get(
        self, command: Command[A], names: Sequence[str], options: Asked, view: View | None = None
    ) -> A | None:
        """Ask and print, as ``view`` and ``options`` want it; the answer, None after a watch.
        KS-USE-002 for a name that is not there, KS-USE-003 for a column that is not."""
        if view and view.watch:
            import asyncio

            asyncio.run(self._watch(command, names, view, options))
            return None
        answer = self.select_items(call(options, command), names, view.sort_by if view else "")
        columns, headers = self._columns_of(answer), not (view and view.no_headers)
        show(answer, options.output, columns, self.table.wide, key=self.table.key, headers=headers)
        return answer

    def select_items(self, answer: A, names: Sequence[str], sort_by: str = "") -> A:
        """The answer with those items only that are asked for, in the order that is."""
        items: list[Row] = list(value_of(answer, "items"))
        if names:
            there = set(map(self._name, items))
            missing = [name for name in names if name not in there]
            if missing:
                raise KeysteadError(
                    "KS-USE-002", f"there is no {self.table.key} {', '.join(missing)}"
                )
            items = [item for name in names for item in items if self._name(item) == name]
        if sort_by:
            items.sort(key=self._order(sort_by, items))
        return msgspec.structs.replace(answer, items=tuple(items))

    def _order(self, by: str, items: Sequence[Row]) -> Callable[[Row], tuple[bool, float, str]]:
        """The order of a column's or a field's values: numbers as numbers, what is empty last."""
        columns = {title.lower().replace(" ", "_"): value for title, value in self._all}
        if items:
            fields = items[0].__struct_fields__
            columns |= {name: lambda row, name=name: value_of(row, name) for name in fields}
        found = columns.get(by.lower().replace("-", "_").replace(" ", "_"))
        if found is None and not items:
            return lambda row: (True, 0.0, "")
        if found is None:
            raise KeysteadError(
                "KS-USE-003", f"--sort-by {by}: there is no such column", ", ".join(columns)
            )

        def order(row: Row) -> tuple[bool, float, str]:
            value = found(row)
            number = float(value) if isinstance(value, int | float) else 0.0
            return value in (None, "", ()), number, text(value)

        return order

    def _columns_of(self, answer: Row) -> tuple[Column, ...]:
        """With one for the vCenter, when these items are of more than one."""
        items = value_of(answer, "items")
        of = {getattr(item, "vcenter", None) for item in items}
        filled = [(title, value) for title, value in self.table.rare if any(map(value, items))]
        several = (field("vcenter"),) if len(of) > 1 else ()
        return (*self.table.columns, *filled, *several)

    @property
    def _all(self) -> tuple[Column, ...]:
        return (*self.table.columns, *self.table.rare, *self.table.wide)

    async def _watch(
        self, command: Command[A], names: Sequence[str], view: View, options: Asked
    ) -> None:
        """The list, then each row that is new or differs, and on stderr which are gone, until
        interrupted or the lab ends."""
        import asyncio

        from lab.local.remote import Remote

        seen: dict[str, Any] = {}
        columns: tuple[Column, ...] = ()
        rows, begun = _Rows(columns), False
        async with Remote(LabFolder(options.name), options.vcenter) as lab:
            while True:
                answer = self.select_items(await lab.do(command), names, view.sort_by)
                news = [i for i in value_of(answer, "items") if seen.get(self._name(i)) != i]
                if not begun:
                    wide = self.table.wide if options.output is Format.WIDE else ()
                    columns = (*self._columns_of(answer), *wide)
                    rows = _Rows((_TIME, *columns))
                if not begun and not view.no_headers and not options.quiet:
                    rows.fit(news)
                    if not is_document(options.output) and options.output is not Format.NAME:
                        rows.heading()
                there = set(map(self._name, value_of(answer, "items")))
                for name in [name for name in seen if name not in there]:
                    del seen[name]  # one that comes back as it was is news
                    if not options.quiet:
                        say(f"{name} is gone")
                for item in news:
                    before = seen.get(self._name(item))
                    seen[self._name(item)] = item
                    if is_document(options.output):
                        json_line(item)
                    elif options.output is Format.NAME:
                        plain(self._name(item))
                    else:
                        rows.put(item, _changes(before, item, columns) if begun else "")
                begun = True
                rows.flush()
                await asyncio.sleep(LOOK_EVERY_S)

    def _name(self, item: Row) -> str:
        return str(value_of(item, self.table.key))


_TIME: Final[Column] = ("TIME", lambda row: time.strftime("%H:%M:%S"))
"""Of this machine: when a row was seen."""


def _changes(before: Row | None, now: Row, columns: Sequence[Column]) -> str:
    """What is different from ``before``, by column; fields that have none by their names."""
    if before is None:
        return "new"
    cells = [(title, text(value(before)), text(value(now))) for title, value in columns]
    told = [f"{title} {old} -> {new}" for title, old, new in cells if old != new]
    shown = {title.lower().replace(" ", "_") for title, _ in columns}
    fields = [name for name in now.__struct_fields__ if name not in shown]
    others = [name for name in fields if value_of(before, name) != value_of(now, name)]
    return ", ".join(told or others)


class _Rows:
    """Rows that come one by one, in columns as wide as the first ones needed."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._columns = columns
        self._widths = [len(title) for title, _ in columns]

    def fit(self, items: Sequence[Row]) -> None:
        for place, (_, value) in enumerate(self._columns):
            cells = [len(text(value(item))) for item in items]
            self._widths[place] = max([self._widths[place], *cells])

    def heading(self) -> None:
        self._line([title for title, _ in self._columns])

    def put(self, item: Row, changes: str) -> None:
        self._line([text(value(item)) for _, value in self._columns], changes)

    def _line(self, cells: Sequence[str], changes: str = "") -> None:
        padded = [cell.ljust(width) for cell, width in zip(cells, self._widths, strict=True)]
        plain("  ".join([*padded, changes]).rstrip())

    def flush(self) -> None:
        flush()


def run(command: Command[Any], options: LabOptions) -> int:
    """Give a command, print its answer, and return the exit code."""
    answer = call(options, command)
    return print_answer(command, answer, options)


def look(
    command: Command[Any], names: Sequence[str], options: Asked, view: View | None = None
) -> int:
    """The same of a list, of which ``names`` are shown as ``view`` says."""
    answer = Listing(table_for(type(command))).get(command, names, options, view)
    return 0 if answer is None else _report(answer, options)


def print_answer(command: Command[Any], answer: Any, options: LabOptions) -> int:
    """Print an answer, and what there is to say besides; the exit code."""
    _print(command, answer, options)
    return _report(answer, options)


def table_for(command: type[Command[Any]]) -> ColumnTable:
    """The table of a command's answer; ``TypeError`` when it has none."""
    answer = answer_type(command)
    if (table := command.table or table_of(answer)) is None:
        raise TypeError(f"{answer.__name__} has neither a table nor a page")
    return table


def _print(command: Command[Any], answer: Any, options: LabOptions) -> None:
    if is_document(options.output):
        document(answer, options.output)
        return
    from lab.cli.pages import PAGES

    text = command.message(answer)
    if text and options.output is not Format.NAME:
        say(text)
        return
    page = PAGES.get(type(answer))
    if page and not (options.output is Format.NAME and table_of(type(answer))):
        page(answer, options)
        return
    table = table_for(type(command))
    if hasattr(answer, "items"):
        show(answer, options.output, table.columns, table.wide, key=table.key)
    else:
        show_one(answer, options.output, table.columns, table.wide, key=table.key)


def _report(answer: Any, options: Asked) -> int:
    if not is_document(options.output):
        for text in answer.remarks():
            say(text)
    of_lab = "" if options.name == "default" else f" --name {options.name}"
    for text in answer.errors(of_lab):
        say(text)
    sys.stdout.flush()
    code: int = answer.exit_code
    return code
