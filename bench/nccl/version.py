"""NCCL's versions, and which behaviour began with which version.

The thresholds were read off NVIDIA/nccl, tag by tag; between two tags the first one that has it is named.
"""

from __future__ import annotations

import re

Version = tuple[int, int, int]

NEWEST: Version = (2, 30, 7)
"""The newest tag whose source was read; what is newer is taken to behave like it."""

IB_DEVICES_32: Version = (2, 18, 5)  # MAX_IB_DEVS 16 -> 32
CONF_FILE_VARIABLE: Version = (2, 23, 4)  # NCCL_CONF_FILE
CONF_COMMENTS: Version = (2, 26, 2)  # lines that start with # are skipped
RUNNING_INTERFACES: Version = (2, 28, 3)  # IFF_RUNNING is asked for; virbr* comes last
CONF_READS_HOME: Version = (2, 30, 3)  # $HOME instead of getpwuid; \r stripped; lines of 4095 bytes
RAIL_AND_PLANE: Version = (2, 30, 5)  # <hca>[:port[:rail[:plane]]], an empty field is any


def parse_version(text: str) -> Version | None:
    """(2, 28, 9) of ``2.28.9+cuda13.0`` or ``2.22.3-HEAD:271856d``; None where it does not start so."""
    match = re.match(r"\s*v?(\d{1,4})\.(\d{1,4})(?:\.(\d{1,4}))?(?!\d)", text)
    return (int(match[1]), int(match[2]), int(match[3] or 0)) if match else None
