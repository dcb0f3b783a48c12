"""The lab as a picture: sites, clusters with their hosts, servers, and the links between them.

What a fault of the run touched is marked; a link that one of them was laid on is drawn broken.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from chaos.lab import NodeEntry
from chaos.report.phases import Band, bands
from chaos.report.shapes import Picture, Rect, ShapeLine, Text, shorten
from chaos.report.story import Story
from protocol.terms import Role

MOST_HOSTS: Final = 40
"""Of a larger cluster hosts are counted, and not drawn one by one."""
_PAD, _GAP = 14.0, 44.0
_SERVER_W, _SERVER_H = 118.0, 28.0
_HOST_W, _HOST_H = 66.0, 18.0
_IN_ROW: Final = 4  # hosts of a cluster beside each other


@dataclass(frozen=True)
class ServerBox:
    """The box of a server, or of a cluster with its ``hosts``."""

    name: str
    x: float
    y: float
    w: float
    h: float
    hosts: tuple[NodeEntry, ...] = ()
    server: NodeEntry | None = None

    @property
    def middle(self) -> tuple[float, float]:
        """Its centre."""
        return self.x + self.w / 2, self.y + self.h / 2

    @property
    def nodes(self) -> frozenset[str]:
        """Names of what is in it."""
        found = self.hosts if self.server is None else (self.server,)
        return frozenset(str(entry.node) for entry in found)

    @property
    def role(self) -> Role:
        """Of the server, or of hosts."""
        return Role.ESXI if self.server is None else self.server.role


@dataclass(frozen=True)
class BoxMark:
    """How a node is drawn that is not as the others: another class, and what its tip says more."""

    look: str
    tip: str


@dataclass(frozen=True)
class Marks:
    """What a picture of a lab shows beside the lab itself.

    ``nodes`` by name; ``marked`` is said of them where they are counted only. ``broken`` gives the
    tip of a link that is drawn broken, empty: it is whole. ``linked``: shapes lead to
    ``#host:NAME``, ``#server:NAME`` and ``#link:A,B``.
    """

    nodes: Mapping[str, BoxMark]
    broken: Callable[[ServerBox, ServerBox], str]
    marked: str = "under faults"
    linked: bool = False


def topology(story: Story) -> Picture:
    """The picture of a run's lab."""
    faults = [band for band in bands(story.records) if not band.error]
    struck = Counter(node for band in faults for node in band.nodes)

    def describe_break(a: ServerBox, b: ServerBox) -> str:
        laid = [band for band in faults if _between(band, a, b)]
        return "; ".join(f"{band.id}: {band.summary or band.kind}" for band in laid)

    nodes = {node: BoxMark("struck", _by(count)) for node, count in struck.items()}
    return draw_lab(story.directory.nodes, Marks(nodes, describe_break))


def draw_lab(entries: Sequence[NodeEntry], marks: Marks) -> Picture:
    """The picture of a lab with these nodes."""
    sites = list(dict.fromkeys(entry.site for entry in entries))
    picture = Picture(0.0, 0.0, f"{len(entries)} nodes in {len(sites)} sites")
    x, places, frames = 2.0, [], []
    for site in sites:
        of_site = [entry for entry in entries if entry.site == site]
        placed, w, h = _site(of_site, x)
        places += placed
        frames.append((site, x, w, h))
        x += w + _GAP
    height = max((h for *_, h in frames), default=0.0)
    for site, left, w, _ in frames:
        picture.add(
            Rect(x=left, y=2.0, w=w, h=height, look="site"),
            Text(x=left + _PAD, y=20.0, text=f"site {site}", look="site-name"),
        )
    _links(picture, places, marks)
    for place in places:
        _place(picture, place, marks)
    picture.width, picture.height = max(x - _GAP + 2.0, 240.0), height + 4.0
    return picture


def _site(entries: Sequence[NodeEntry], x: float) -> tuple[list[ServerBox], float, float]:
    """The boxes of one site from ``x`` on, and the size of its frame."""
    servers = [entry for entry in entries if entry.role is not Role.ESXI]
    clusters: dict[str, list[NodeEntry]] = {}
    for entry in entries:
        if entry.role is Role.ESXI:
            clusters.setdefault(str(entry.cluster), []).append(entry)
    places, at, y = [], x + _PAD, 32.0
    for entry in servers:
        places.append(ServerBox(str(entry.node), at, y, _SERVER_W, _SERVER_H, server=entry))
        y += _SERVER_H + 26.0
    bottom = y - 26.0 if servers else 32.0
    at += _SERVER_W + _GAP if servers else 0.0
    for name, hosts in clusters.items():
        w, h = _size(len(hosts))
        places.append(ServerBox(name, at, 32.0, w, h, hosts=tuple(hosts)))
        at += w + 22.0
        bottom = max(bottom, 32.0 + h)
    right = at - 22.0 if clusters else at - _GAP
    return places, right - x + _PAD, bottom + _PAD - 2.0


def _size(hosts: int) -> tuple[float, float]:
    if hosts > MOST_HOSTS:
        return 190.0, 44.0
    across, down = min(hosts, _IN_ROW), -(-hosts // _IN_ROW)
    return max(across * (_HOST_W + 6.0) + 10.0, 150.0), down * (_HOST_H + 6.0) + 26.0


def _links(picture: Picture, places: Sequence[ServerBox], marks: Marks) -> None:
    for a, b in _pairs(places):
        why = marks.broken(a, b)
        (x, y), (x2, y2) = a.middle, b.middle
        tip = f"{a.name} – {b.name}" + (f"\n{why}" if why else "")
        look = "link-broken" if why else "link"
        href = f"#link:{a.name},{b.name}" if marks.linked else ""
        picture.add(ShapeLine(x=x, y=y, x2=x2, y2=y2, look=look, tip=tip, href=href))
        if why:
            across, down = _gap(a, b)
            picture.add(
                Text(x=across, y=down + 5.0, text="✂", look="cut", anchor="middle", tip=tip)
            )


def _gap(a: ServerBox, b: ServerBox) -> tuple[float, float]:
    """The point of the line between two boxes that is as far from one as from the other."""
    (x, y), (x2, y2) = a.middle, b.middle
    left, right = sorted((a, b), key=lambda place: place.x)
    if left.x + left.w < right.x:
        across = (left.x + left.w + right.x) / 2
        return across, y + (y2 - y) * (across - x) / (x2 - x)
    upper, lower = sorted((a, b), key=lambda place: place.y)
    down = (upper.y + upper.h + lower.y) / 2
    return (x + (x2 - x) * (down - y) / (y2 - y) if y != y2 else x), down


def _pairs(places: Sequence[ServerBox]) -> Iterator[tuple[ServerBox, ServerBox]]:
    """Who talks to whom: vCenter and key servers with all, a Trust Authority with hosts."""
    for number, a in enumerate(places):
        for b in places[number + 1 :]:
            roles = {a.role, b.role}
            if roles & {Role.VCENTER, Role.KMS} or (Role.ESXI in roles and a.role is not b.role):
                yield a, b


def _between(band: Band, a: ServerBox, b: ServerBox) -> bool:
    one, other = band.sides
    return any(bool(one & x.nodes) and bool(other & y.nodes) for x, y in ((a, b), (b, a)))


_ROLES: Final = {
    Role.VCENTER: "vCenter",
    Role.KMS: "key server",
    Role.ATTESTATION: "attestation",
    Role.KEYPROVIDER: "key provider",
}


def _place(picture: Picture, place: ServerBox, marks: Marks) -> None:
    if place.server is not None:
        role, mark = _ROLES[place.role], marks.nodes.get(place.name)
        picture.add(
            Rect(
                x=place.x,
                y=place.y,
                w=place.w,
                h=place.h,
                look=f"server {mark.look}" if mark else "server",
                tip=f"{role} {place.name}{mark.tip if mark else ''}",
                href=f"#server:{place.name}" if marks.linked else "",
            ),
            Text(x=place.x + 8.0, y=place.y + 12.0, text=shorten(place.name, place.w - 14.0)),
            Text(x=place.x + 8.0, y=place.y + 23.0, text=role, look="quiet"),
        )
        return
    hosts = len(place.hosts)
    picture.add(
        Rect(x=place.x, y=place.y, w=place.w, h=place.h, look="cluster"),
        Text(
            x=place.x + 8.0,
            y=place.y + 14.0,
            text=shorten(f"{place.name} · {hosts} hosts", place.w - 12.0),
            look="quiet",
        ),
    )
    if hosts > MOST_HOSTS:
        hit = sum(str(entry.node) in marks.nodes for entry in place.hosts)
        text = f"{hit} of them {marks.marked}"
        picture.add(Text(x=place.x + 8.0, y=place.y + 32.0, text=text))
        return
    for number, entry in enumerate(place.hosts):
        down, across = divmod(number, _IN_ROW)
        x, y = place.x + 8.0 + across * (_HOST_W + 6.0), place.y + 22.0 + down * (_HOST_H + 6.0)
        _host(picture, str(entry.node), x, y, marks)


def _host(picture: Picture, name: str, x: float, y: float, marks: Marks) -> None:
    mark = marks.nodes.get(name)
    picture.add(
        Rect(
            x=x,
            y=y,
            w=_HOST_W,
            h=_HOST_H,
            look=f"host {mark.look}" if mark else "host",
            tip=f"{name}{mark.tip if mark else ''}",
            href=f"#host:{name}" if marks.linked else "",
        ),
        Text(x=x + 5.0, y=y + 12.5, text=shorten(name, _HOST_W - 8.0)),
    )


def _by(count: int) -> str:
    return f": touched by {count} faults" if count > 1 else ": touched by a fault" if count else ""
