"""Events about a host that are raised once in each of its boots, however often their cause
recurs."""

from __future__ import annotations

from protocol.terms import NodeName


class OncePerBoot:
    """What was raised for each host in its present boot; a new life of vCenter raises it again."""

    def __init__(self) -> None:
        self._raised: dict[NodeName, tuple[int, set[tuple[str, str]]]] = {}

    def first(self, host: NodeName, boot: int, topic: str, detail: str = "") -> bool:
        """Whether this is the first call for the topic in that boot of the host."""
        known, raised = self._raised.get(host, (boot, set()))
        if known != boot:
            raised = set()
        self._raised[host] = (boot, raised)
        if (topic, detail) in raised:
            return False
        raised.add((topic, detail))
        return True

    def over(self, host: NodeName, topic: str) -> bool:
        """The cause has ended: if it recurs in the same boot, it is raised again. Returns whether
        it had been raised."""
        boot, raised = self._raised.get(host, (0, set()))
        left = {entry for entry in raised if entry[0] != topic}
        self._raised[host] = (boot, left)
        return left != raised

    def forget(self, host: NodeName) -> None:
        """The host left the inventory."""
        self._raised.pop(host, None)
