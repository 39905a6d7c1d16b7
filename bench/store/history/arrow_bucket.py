"""Reads a bucket of S3 by Arrow's own client, where the environment says how and no process is forked.

s3fs takes a second to import. It alone makes objects, by a put that fails where there is one.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any

_may_fork = True


def never_forks() -> None:
    """Let this process read buckets by Arrow. It must not fork once it has read one.

    The fork would crash or hang, and sometimes the process itself.
    """
    global _may_fork
    _may_fork = False


class ArrowBucket:
    """A file system of fsspec that reads by Arrow. Other calls go to s3fs, which ``writer`` imports when one comes."""

    def __init__(self, files: Any, writer: Callable[[], Any]) -> None:
        self._files, self._writer = files, writer

    def find(self, path: str, detail: bool) -> dict[str, dict[str, int]]:
        """Each object below a path, and its size."""
        return {info.path: {"size": info.size} for info in _listed(self._files, path, True) if info.is_file}

    def ls(self, path: str, detail: bool) -> list[str]:
        return [info.path for info in _listed(self._files, path, False)]

    def cat_file(self, path: str, start: int = 0) -> bytes:
        """The object, or so many of its last bytes where ``start`` is negative."""
        with self._files.open_input_file(path) as file:
            if start < 0:
                file.seek(max(0, file.size() + start))
            content: bytes = file.read()
        return content

    def invalidate_cache(self) -> None:
        """Nothing is kept."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._writer(), name)


def files_by_environment(path: str) -> Any:
    """Arrow's client, where the environment names keys and endpoint and that client can list the path; else None.

    s3fs reads the same variables before any file, and says what is wrong where this client fails.
    """
    return None if _may_fork else _connected(path)


@cache
def _connected(path: str) -> Any:
    told = os.environ.get
    endpoint = told("AWS_ENDPOINT_URL_S3") or told("AWS_ENDPOINT_URL")
    key, secret = told("AWS_ACCESS_KEY_ID"), told("AWS_SECRET_ACCESS_KEY")
    if not (endpoint and key and secret):
        return None
    scheme, _, host = endpoint.rstrip("/").rpartition("://")
    try:
        files = import_module("pyarrow.fs").S3FileSystem(
            access_key=key,
            secret_key=secret,
            session_token=told("AWS_SESSION_TOKEN"),
            region=told("AWS_DEFAULT_REGION") or "us-east-1",
            scheme=scheme or "https",
            endpoint_override=host,
        )
        _listed(files, path, False)
    except (ImportError, OSError):
        return None
    return files


def _listed(files: Any, path: str, below: bool) -> Any:
    selector = import_module("pyarrow.fs").FileSelector(path, allow_not_found=True, recursive=below)
    return files.get_file_info(selector)
