"""Asking from the nodes of a Ray cluster: each has its own line to the server, and what comes goes on to this machine.

Only the requests go there. When each of them may go, what an answer means for the others, holes, judging and writing
stay with the one event loop of a run: so rates hold for the cluster in total, and statuses are as exact as without it.
"""

from __future__ import annotations

from typing import Any

from shroomcurate.download.connections import Connections
from shroomcurate.ray_cluster import Cluster, Lost, asked
from shroomcurate.transport import Answer, Patience

_SLOW = 60.0  # seconds more than a request may take: until a dead node is known to be, and another has taken over
_NODES = 2  # that are asked where no connection stands, before that is believed


class Node:
    """One node, seen from this machine."""

    def __init__(self, there: Any) -> None:
        self.there = there
        self.active = self.lost = self.answers = 0  # lost: requests in a row for which no connection stood

    async def ask(self, url: str, patience: Patience, method: str) -> Answer:
        """Ask once, from there."""
        self.active += 1
        try:
            answer: Answer = await asked(self.there.ask.remote(url, method), patience.whole + _SLOW)
        except Lost as error:
            answer = Answer("unreachable", error=f"a node of the cluster did not answer ({error})")
        finally:
            self.active -= 1
        self.lost = self.lost + 1 if answer.kind == "unreachable" else 0
        self.answers += 1
        return answer


class Nodes:
    """Carries the requests of a run."""

    def __init__(self, cluster: Cluster, base_url: str, patience: Patience) -> None:
        self.cluster = cluster
        self.patience = patience
        self.nodes = [Node(there) for there in cluster.settle(Asker, base_url, patience)]

    async def ask(self, url: str, method: str = "GET") -> Answer:
        """Ask once, from the node with least at hand: one that has a line, while any has."""
        answer = Answer("unreachable", error="the cluster has no nodes")
        for node in sorted(self.nodes, key=lambda node: (node.lost, node.active, node.answers))[:_NODES]:
            answer = await node.ask(url, self.patience, method)
            if answer.kind != "unreachable":
                break
        return answer

    async def aclose(self) -> None:
        """End what is under way."""
        for node in self.nodes:
            self.cluster.dismiss(node.there)


class Asker:
    """What a node does: it asks, its connections kept open."""

    def __init__(self, base_url: str, patience: Patience) -> None:
        self.wishes = base_url, patience
        self.connections: Connections | None = None

    async def ask(self, url: str, method: str) -> Answer:
        """Ask once."""
        if self.connections is None:  # the event loop runs by now
            self.connections = Connections(*self.wishes)
        return await self.connections.ask(url, method)
