"""Reads a text file that somebody sent: a regular file of bounded size, compressed by gzip or not."""

from __future__ import annotations

import gzip
import os
import stat
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from bench.exchange.importing.imported_rows import ImportRefused
from bench.model.units import show_size

MOST_BYTES = 64 << 20  # ten times what a cluster's tests print
_MOST_READ = 2 << 30  # of a file of which some lines are kept
_LONGEST_LINE = 1 << 20
_GZIP = b"\x1f\x8b"


def read_text(file: Path, lines_with: Sequence[bytes] = ()) -> str:
    """A file as text, or those of its lines that hold one of ``lines_with``; bytes that are no text are replaced.

    Raises ImportRefused for one that is not regular (a pipe may never end), too large after it is decompressed, or no
    whole gzip file.
    """
    try:
        with os.fdopen(os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                raise ImportRefused(f"{file} is not a regular file")
            packed = stream.read(2) == _GZIP
            stream.seek(0)
            return read_stream(gzip.GzipFile(fileobj=stream) if packed else stream, str(file), lines_with)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise ImportRefused(f"{file} is a gzip file that is cut or damaged") from None
    except OSError as error:
        raise ImportRefused(f"cannot read {file}: {error.strerror}") from None


def read_stream(
    stream: BinaryIO | gzip.GzipFile, name: str, lines_with: Sequence[bytes] = (), most: int = MOST_BYTES
) -> str:
    """The stream's text, read like ``read_text``; more than ``most`` bytes are refused."""
    content = _lines_holding(stream, name, lines_with, most) if lines_with else stream.read(most + 1)
    if len(content) > most:
        raise ImportRefused(
            f"{name} has more than {show_size(most)} to read: give fewer ranks, or NCCL's lines alone"
        )
    return content.decode(errors="replace")


def _lines_holding(stream: BinaryIO | gzip.GzipFile, name: str, signs: Sequence[bytes], most: int) -> bytes:
    kept, size, seen = [], 0, 0
    while size <= most and (line := stream.readline(_LONGEST_LINE)):
        seen += len(line)
        if seen > _MOST_READ:
            raise ImportRefused(f"{name} has more than {show_size(_MOST_READ)}: give NCCL's lines alone")
        if any(sign in line for sign in signs):
            kept.append(line)
            size += len(line)
    return b"".join(kept)
