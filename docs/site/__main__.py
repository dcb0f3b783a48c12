"""Builds the documentation's site: ``python -m docs.site FOLDER``, which opens without a server.

It needs MkDocs Material, which ``./keystead test`` installs. A dead link, a link to no heading and
a page that the navigation does not have fail the build.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

from docs.site.pages import NAV, all_pages
from docs.site.reference import pages

ROOT = Path(__file__).resolve().parents[2]
_LINK = re.compile(r"\]\((?!\w+:)([^)#\s]+)(#[^)\s]*)?\)")
_ITEM = re.compile(r"^( *)([-*]|\d+\.) ")
_ASSET = "iframe-worker.js"


def configuration(source: Path, target: Path) -> dict[str, Any]:
    """MkDocs' configuration. Nothing is asked of a network when a page is read."""
    nav = [
        {
            title: list(({name: page} for name, page in part.items()))
            if isinstance(part, dict)
            else part
        }
        for title, part in NAV.items()
    ]
    palette = [
        {"media": f"(prefers-color-scheme: {scheme})", "scheme": name,
         "toggle": {"icon": "material/brightness-6", "name": f"{other} theme"}}
        for scheme, name, other in (("light", "default", "dark"), ("dark", "slate", "light"))
    ]  # fmt: skip
    return {
        "site_name": "keystead",
        "site_description": "A laboratory for vSphere key persistence",
        "docs_dir": str(source),
        "site_dir": str(target),
        "nav": nav,
        "exclude_docs": "",
        "not_in_nav": "docs/decisions/0*.md",
        "theme": {
            "name": "material",
            "font": False,
            "palette": palette,
            "features": ["navigation.tabs", "navigation.indexes", "navigation.top",
                         "search.highlight", "search.suggest", "content.code.copy", "toc.follow"],
        },
        "extra": {"homepage": "index.html", "polyfills": [_ASSET], "generator": False},
        "plugins": [{"search": {"lang": "en"}}, "offline"],
        "markdown_extensions": [
            "tables",
            "md_in_html",
            {"toc": {"permalink": True, "slugify": None, "toc_depth": 3}},
            "pymdownx.superfences",
            {"pymdownx.highlight": {"guess_lang": False}},
        ],
        "validation": {
            "omitted_files": "warn",
            "absolute_links": "warn",
            "unrecognized_links": "warn",
            "anchors": "warn",
        },
    }  # fmt: skip


def build(target: Path) -> int:
    """Build the site into ``target``; MkDocs' exit code."""
    with tempfile.TemporaryDirectory() as name:
        source = Path(name) / "source"
        lay_out(source)
        file = Path(name) / "mkdocs.yml"
        told = yaml.safe_dump(configuration(source, target.resolve()), sort_keys=False)
        # Anchors as the forge makes them; a function is no plain value.
        slug = "!!python/object/apply:pymdownx.slugs.slugify {kwds: {case: lower}}"
        file.write_text(told.replace("slugify: null", f"slugify: {slug}"), "utf-8")
        command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(file)]
        return subprocess.run(command, cwd=ROOT, check=False).returncode


def lay_out(source: Path) -> None:
    """The pages as they lie in the checkout, with what they link to, and the generated ones."""
    written = pages()
    listed = [page for page in all_pages() if page not in written]
    decisions = [f"docs/decisions/{path.name}" for path in (ROOT / "docs/decisions").glob("0*.md")]
    texts = [*listed, *decisions, *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]
    for page in dict.fromkeys(texts):
        text = (ROOT / page).read_text("utf-8")
        for link, _ in _LINK.findall(text):
            _take_along(source, ROOT / page, link)
        written[page] = _lists_apart(text)
    for page, text in written.items():
        (source / page).parent.mkdir(parents=True, exist_ok=True)
        (source / page).write_text(text, "utf-8")
    shutil.copyfile(Path(__file__).with_name(_ASSET), source / _ASSET)


def _take_along(source: Path, page: Path, link: str) -> None:
    """A file that a page links to, which is no page itself."""
    file = (page.parent / link).resolve()
    if file.is_file() and file.suffix != ".md" and file.is_relative_to(ROOT):
        place = source / file.relative_to(ROOT)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, place)


def _lists_apart(text: str) -> str:
    """A list directly below a paragraph begins a list on the forge; Python-Markdown wants an empty
    line, and four spaces where the forge takes two."""
    made: list[str] = []
    fenced = inside = False
    for line in text.splitlines():
        fenced ^= line.lstrip().startswith("```")
        item = None if fenced else _ITEM.match(line)
        if item and not inside and made and made[-1].strip():
            made.append("")
        inside = bool(item) or (inside and (line.startswith(" ") or not line.strip()))
        made.append(line)
    return "\n".join(made) + "\n"


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m docs.site FOLDER")
    sys.exit(build(Path(sys.argv[1])))
