"""Finds which rails are connected: sends a packet on every rail and reports on which rails of other nodes it arrives.

IP cannot tell: a packet leaves by the rail of its destination's address, whatever socket it was sent on. A
broadcast from a socket that is bound to a device (SO_BINDTODEVICE, which Linux grants anybody since 5.7) leaves
by this device and arrives where its cable leads.
"""

from __future__ import annotations

import json
import selectors
import socket
import time
from collections.abc import Iterator, Sequence

from bench.model.run_folder_lines import HeardBroadcasts
from bench.probe.host import node_name

PORT = 47113  # UDP; free of any service that IANA lists
SECONDS = 2.0  # of talking and listening; the nodes begin within some milliseconds of each other
EVERY = 0.2  # seconds between two words: one may be lost while a switch learns
MOST_BYTES = 512


def hear_broadcasts(rails: Sequence[str], job: str, seconds: float = SECONDS) -> HeardBroadcasts:
    """What arrives on each rail of what the others send; never raises.

    ``job``: a word that only this job's nodes know, so that another job on the same wires is not heard.
    """
    me, silent = node_name(), dict[str, str]()
    ears = dict[str, socket.socket]()
    for rail in rails:
        try:
            ears[rail] = _ear(rail)
        except OSError as error:
            silent[rail] = error.strerror or type(error).__name__
    try:
        heard = set(_talk(ears, me, job, seconds, silent))
    finally:
        for ear in ears.values():
            ear.close()
    return HeardBroadcasts(tuple(sorted(heard)), silent)


def _ear(rail: str) -> socket.socket:
    """A socket that sends and receives on one device alone."""
    ear = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        ear.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, rail.encode() + b"\0")
        ear.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        ear.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        ear.setblocking(False)
        ear.bind(("", PORT))
    except OSError:
        ear.close()
        raise
    return ear


def _talk(
    ears: dict[str, socket.socket], me: str, job: str, seconds: float, silent: dict[str, str]
) -> Iterator[tuple[str, str, str]]:
    with selectors.DefaultSelector() as waiting:
        for rail, ear in ears.items():
            waiting.register(ear, selectors.EVENT_READ, rail)
        until, again = time.monotonic() + seconds, 0.0
        while ears and (now := time.monotonic()) < until:
            if now >= again:
                again = now + EVERY
                _say(ears, me, job, silent)
            for key, _ in waiting.select(min(again, until) - now):
                found = _word(ears[key.data], job)
                if found and found[0] != me:
                    yield key.data, *found


def _say(ears: dict[str, socket.socket], me: str, job: str, silent: dict[str, str]) -> None:
    for rail, ear in ears.items():
        word = json.dumps({"railgauge": job, "node": me, "rail": rail}).encode()
        try:
            ear.sendto(word, ("255.255.255.255", PORT))
        except OSError as error:  # the link is down, or has no address
            silent[rail] = error.strerror or type(error).__name__


def _word(ear: socket.socket, job: str) -> tuple[str, str] | None:
    """(sender, its rail) of a packet; None where it is not this job's: anybody can send here."""
    try:
        said = json.loads(ear.recv(MOST_BYTES))
        if said["railgauge"] != job:
            return None
        return str(said["node"])[:256], str(said["rail"])[:64]
    except (OSError, ValueError, LookupError, TypeError):
        return None
