"""``python -m tests.kills N``: see the package. Ends with 1 when anything acknowledged is lost."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from lab.supervise.launching import ROOT
from tests.kills.labs import KINDS, Ended, Kind, Told

SHOWN_EVERY_S = 10.0
LOST_SHOWN = 20
END_WITHIN_S = 20.0
Players = list["subprocess.Popen[str]"]


def say(text: str) -> None:
    print(f"keystead: {text}", file=sys.stderr, flush=True)


def shared_out(rounds: int, kinds: Sequence[Kind]) -> dict[str, int]:
    """How many rounds each lab plays: those that are over go to the first ones."""
    whole = sum(kind.share for kind in kinds)
    found = {kind.name: rounds * kind.share // whole for kind in kinds}
    for kind in kinds[: rounds - sum(found.values())]:
        found[kind.name] += 1
    return found


@dataclass
class Tally:
    """What was told so far; ``parts``: rounds, acknowledged, read back and lost for each part."""

    rounds: int = 0
    parts: dict[str, list[int]] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    ended: dict[str, Ended] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, lab: str, told: Told) -> None:
        with self.lock:
            self.rounds += 1
            row = self.parts.setdefault(f"{lab}/{told.part}", [0, 0, 0, 0])
            for place, more in enumerate((1, told.acknowledged, told.read, len(told.lost))):
                row[place] += more
            for text in told.lost:
                self.lost.append(f"{lab}, after {told.part} was killed: {text}")
                if len(self.lost) <= LOST_SHOWN:
                    say(f"lost: {self.lost[-1]}")

    def end(self, lab: str, ended: Ended) -> None:
        with self.lock:
            self.ended[lab] = ended
            self.lost += [f"{lab}, at the end: {text}" for text in ended.lost]

    @property
    def violations(self) -> list[str]:
        return [f"{lab}: {text}" for lab, ended in self.ended.items() for text in ended.violations]

    @property
    def undecided(self) -> int:
        return sum(ended.undecided for ended in self.ended.values())

    @property
    def well(self) -> bool:
        """Whether everything was played, and nothing was lost."""
        return not (self.lost or self.violations or self.undecided or self.failed)


def play(
    kind: Kind, rounds: int, seed: int, patch: str, tally: Tally, home: Path, players: Players
) -> None:
    """One lab, from its start to its end; ``home``: a folder for its files."""
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-m", "tests.kills.player", kind.name, str(seed), patch],
        cwd=ROOT,
        env={**os.environ, "KEYSTEAD_STATE_HOME": str(home)},
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        text=True,
        start_new_session=True,  # a Ctrl-C is this process's to hand on
    ) as player:
        players.append(player)
        assert player.stdin is not None and player.stdout is not None
        errors: list[str] = []
        reader = threading.Thread(target=lambda: errors.extend(player.stderr or ()))
        reader.start()
        try:
            for _ in range(rounds):
                player.stdin.write("\n")
                player.stdin.flush()
                tally.take(kind.name, msgspec.json.decode(player.stdout.readline(), type=Told))
            player.stdin.close()
            tally.end(kind.name, msgspec.json.decode(player.stdout.readline(), type=Ended))
        except (OSError, msgspec.DecodeError):
            player.kill()
        reader.join()
    if kind.name not in tally.ended:
        tally.failed.append(f"{kind.name} ended early: {''.join(errors[-8:]).strip()}")


def end(players: Players) -> None:
    """Have each end its lab as at a Ctrl-C; what has not ended after ``END_WITHIN_S`` is killed,
    and its processes with it."""
    for player in players:
        player.send_signal(signal.SIGINT)
    until = time.monotonic() + END_WITHIN_S
    for player in players:
        try:
            player.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            player.kill()


def table(tally: Tally, taken_s: float) -> str:
    """What was played, part by part, and how it was judged."""
    head = ("part", "rounds", "acknowledged", "read back", "lost")
    rows = [(part, *map(str, row)) for part, row in sorted(tally.parts.items())]
    sums = [sum(row[place] for row in tally.parts.values()) for place in range(4)]
    last = sum(ended.read for ended in tally.ended.values())
    rows += [("at the end", "", "", str(last), str(_lost_at_the_end(tally)))]
    rows += [("all", str(sums[0]), str(sums[1]), str(sums[2] + last), str(len(tally.lost)))]
    widths = [max(len(row[place]) for row in (head, *rows)) for place in range(len(head))]
    lines = [
        "  ".join(
            cell.ljust(width) if place == 0 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in (head, *rows)
    ]
    operations = sum(ended.operations for ended in tally.ended.values())
    parts = sum(ended.parts for ended in tally.ended.values())
    lines += [
        "",
        f"linearizability: {operations} operations in {parts} parts, "
        f"{len(tally.violations)} violations, {tally.undecided} undecided",
        f"{tally.rounds} rounds in {taken_s:.0f} s, {60 * tally.rounds / taken_s:.0f} a minute",
        *[f"violation: {text}" for text in tally.violations[:LOST_SHOWN]],
        *[f"failed: {text}" for text in tally.failed],
    ]
    return "\n".join(lines)


def _lost_at_the_end(tally: Tally) -> int:
    return sum(len(ended.lost) for ended in tally.ended.values())


def run(rounds: int, seed: int, kinds: Sequence[Kind], patch: str = "") -> Tally:
    """Play ``rounds`` in labs of these kinds, side by side, and show how far it is."""
    began, tally = time.monotonic(), Tally()
    players: Players = []
    shares = shared_out(rounds, kinds)
    with tempfile.TemporaryDirectory(prefix="keystead-kills-") as folder:
        threads = []
        for number, kind in enumerate(kinds):
            (home := Path(folder) / kind.name).mkdir()
            asked = (kind, shares[kind.name], seed + number, patch, tally, home, players)
            threads.append(threading.Thread(target=play, args=asked))
            threads[-1].start()
        try:
            while alive := [thread for thread in threads if thread.is_alive()]:
                alive[0].join(SHOWN_EVERY_S)
                taken_s = time.monotonic() - began
                say(f"{tally.rounds} of {rounds} rounds, {len(tally.lost)} lost, {taken_s:.0f} s")
        except KeyboardInterrupt:
            say("interrupted: ending the labs")
            end(players)
            for thread in threads:
                thread.join()
            raise
    print(table(tally, time.monotonic() - began))
    return tally


def main(arguments: Sequence[str]) -> int:
    """0 when nothing was lost, 1 otherwise, 2 for arguments that are none."""
    parser = argparse.ArgumentParser(
        prog="./keystead test --kills", description="kill -9, counted; everything is read back"
    )
    parser.add_argument("rounds", type=int, help="how many rounds, 1 at least")
    parser.add_argument("--seed", type=int, default=1, help="of what is killed when (1)")
    parser.add_argument("--labs", default="", help="only these, by name, with commas between")
    given = parser.parse_args(arguments)
    names = [kind.name for kind in KINDS]
    chosen = given.labs.split(",") if given.labs else names
    if given.rounds < 1:
        parser.error("it takes at least one round")
    if unknown := [name for name in chosen if name not in names]:
        parser.error(f"no lab {', '.join(unknown)}; there are {', '.join(names)}")
    kinds = [kind for kind in KINDS if kind.name in chosen]
    try:
        return 0 if run(given.rounds, given.seed, kinds).well else 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
