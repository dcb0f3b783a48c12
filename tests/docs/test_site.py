"""The site is built, every link in it leads to a page and a heading, and it asks no network."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from docs.site import __main__ as site
from docs.site.pages import all_pages
from tests.tidy.tree import ROOT

_GENERATED = "reference/"


class _Page(HTMLParser):
    """What a page refers to, what it loads, and its anchors."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.anchors |= {found[name] for name in ("id", "name") if name in found}
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        if tag in ("script", "img") and "src" in found:
            self.loaded.append(found["src"])
        if tag == "link" and found.get("rel") in ("stylesheet", "icon"):
            self.loaded.append(found["href"])


def test_the_navigation_has_every_page() -> None:
    listed = set(all_pages())
    folders = ("docs/*.md", "examples/*/README.md")
    there = {str(page.relative_to(ROOT)) for folder in folders for page in ROOT.glob(folder)}
    assert there - listed == set()
    gone = [
        page for page in listed if not page.startswith(_GENERATED) and not (ROOT / page).exists()
    ]
    assert gone == []


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("mkdocs")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "docs.site", str(folder)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return folder


@pytest.mark.slow
def test_every_link_leads_somewhere_and_nothing_is_fetched(built: Path) -> None:
    pages = {path: _Page(path.read_text("utf-8")) for path in built.rglob("*.html")}
    assert len(pages) > len(all_pages())
    wrong = []
    for path, page in pages.items():
        if path.name == "404.html":  # a server's: its links begin at the root
            continue
        for link in [*page.links, *page.loaded]:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                wrong += [f"{path}: loads {link}"] * (
                    link in page.loaded and parts.scheme != "data"
                )
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.is_file():
                wrong.append(f"{path}: {link} is not there")
            elif parts.fragment and target in pages:
                known = pages[target].anchors
                wrong += [f"{path}: {link} has no anchor"] * (unquote(parts.fragment) not in known)
    assert wrong == []


@pytest.mark.slow
def test_reference_pages_are_those_of_the_registries(built: Path) -> None:
    for page, anchor in {
        "faults": "linkcut",
        "probes": "vmrunning",
        "errors": "ks-lab-001",
        "commands": "keystead-vm-encrypt",
    }.items():
        text = (built / "reference" / f"{page}.html").read_text("utf-8")
        assert f'id="{anchor}"' in text, page
    assert "vm.encrypt" in (built / "search" / "search_index.js").read_text("utf-8")


@pytest.mark.slow
def test_search_finds_without_a_server(built: Path, tmp_path: Path) -> None:
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("there is no chromium here")
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    command += [f"--user-data-dir={tmp_path}", "--virtual-time-budget=9000"]
    page = (built / "docs" / "labs.html").as_uri()
    ran = subprocess.run([*command, f"{page}?q=persistence"], capture_output=True, text=True)
    found = re.search(r'md-search-result__meta">(\d+) matching', ran.stdout)
    assert found and int(found[1]) > 5
    assert (
        "link.delay"
        in subprocess.run(
            [*command, (built / "reference" / "faults.html").as_uri()],
            capture_output=True,
            text=True,
        ).stdout
    )


@pytest.mark.slow
def test_a_dead_link_fails_the_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mkdocs")
    lay_out = site.lay_out

    def with_a_dead_link(source: Path) -> None:
        lay_out(source)
        with (source / "docs" / "size.md").open("a", encoding="utf-8") as page:
            page.write("[nowhere](nowhere.md) [no heading](labs.md#nothing)\n")

    monkeypatch.setattr(site, "lay_out", with_a_dead_link)
    assert site.build(tmp_path / "site") != 0
