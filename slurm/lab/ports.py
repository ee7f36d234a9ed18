"""Ports of a lab that nobody else listens on, so that several labs stand beside each other."""

import random
import socket

BELOW_EPHEMERAL = range(20_000, 30_000)
NODES, ACCOUNTING = 65, (100, 101)  # as offsets from the first port


def free_ports() -> int:
    """A lab's first port, such that nobody listens on any of its ports."""
    while True:
        first = random.choice(BELOW_EPHEMERAL)
        if all(_is_free(first + offset) for offset in (*range(NODES), *ACCOUNTING)):
            return first


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0
