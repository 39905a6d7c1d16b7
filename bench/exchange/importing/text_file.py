"""Reads a text file that somebody sent: a regular file of bounded size, compressed by gzip or not."""

from __future__ import annotations

import gzip
import os
import stat
import zlib
from pathlib import Path

from bench.exchange.importing.nouns import ImportRefused
from bench.model.units import show_size

MOST_BYTES = 64 << 20  # ten times what a cluster's tests print
_GZIP = b"\x1f\x8b"


def read_text(file: Path, most: int = MOST_BYTES, advice: str = "take NCCL's log lines out") -> str:
    """A file as text; bytes that are none are replaced.

    Raises ImportRefused for one that is not regular (a pipe may never end), of more than ``most`` bytes after it is
    decompressed (``advice``: what to do then), or no whole gzip file.
    """
    try:
        with os.fdopen(os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                raise ImportRefused(f"{file} is not a regular file")
            packed = stream.read(2) == _GZIP
            stream.seek(0)
            content = gzip.GzipFile(fileobj=stream).read(most + 1) if packed else stream.read(most + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise ImportRefused(f"{file} is a gzip file that is cut or damaged") from None
    except OSError as error:
        raise ImportRefused(f"cannot read {file}: {error.strerror}") from None
    if len(content) > most:
        raise ImportRefused(f"{file} has more than {show_size(most)}: {advice}")
    return content.decode(errors="replace")
