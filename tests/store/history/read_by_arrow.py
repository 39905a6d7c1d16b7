"""A history in S3 is read by Arrow where the environment says how, and written by s3fs alone."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

import pytest

pytest.importorskip("pyarrow")
pytest.importorskip("fsspec")

from bench.judge.drift import Series, fingerprint
from bench.store.history import (
    HistoryError,
    RecordedRun,
    Sample,
    append,
    arrow_bucket,
    create,
    lasting,
    location,
    nights,
    run_files,
    runs,
)

URL = "s3://bucket/my nights"


class S3(BaseHTTPRequestHandler):
    """Of S3: listings, sizes and ranges of the files below ``root``, as objects of any bucket."""

    root: Path
    refused = False
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        words = {name: each[0] for name, each in parse_qs(url.query, keep_blank_values=True).items()}
        bucket, _, key = unquote(url.path).strip("/").partition("/")
        if self.refused:
            return self._answer(403)
        if bucket != "bucket":
            return self._answer(404)
        if "list-type" in words:
            return self._answer(200, self._listing(words["prefix"], words.get("delimiter", "")))
        if not (self.root / key).is_file():
            return self._answer(404)
        content = (self.root / key).read_bytes()
        if span := self.headers["Range"]:
            first, last = span.removeprefix("bytes=").split("-")
            return self._answer(206, content[int(first) : int(last) + 1])
        return self._answer(200, content)

    do_HEAD = do_GET

    def _listing(self, prefix: str, delimiter: str) -> bytes:
        keys = [path.relative_to(self.root).as_posix() for path in self.root.rglob("*") if path.is_file()]
        folders, lines = set(), []
        for key in sorted(key for key in keys if key.startswith(prefix)):
            name, found, _ = key[len(prefix) :].partition(delimiter) if delimiter else (key, "", "")
            if found:
                folders.add(f"{prefix}{name}/")
            else:
                size = (self.root / key).stat().st_size
                lines.append(f"<Contents><Key>{escape(key)}</Key><Size>{size}</Size></Contents>")
        lines += [
            f"<CommonPrefixes><Prefix>{escape(each)}</Prefix></CommonPrefixes>" for each in sorted(folders)
        ]
        text = "".join(lines)
        return f"<ListBucketResult><IsTruncated>false</IsTruncated>{text}</ListBucketResult>".encode()

    def _answer(self, status: int, content: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Nothing is said on standard error."""


@pytest.fixture
def history(tmp_path, monkeypatch):
    """A history of three nights in a folder that is a bucket too; its path."""
    handler = type("Bucket", (S3,), {"root": tmp_path})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "k")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
        monkeypatch.setattr(arrow_bucket, "_may_fork", True)  # what a test of a command leaves behind
        arrow_bucket.never_forks()
        arrow_bucket._connected.cache_clear()
        home = tmp_path / "my nights"
        create(str(home))
        for night in range(3):
            samples = (Sample(Series("c 1", "all_reduce", "1 MiB", "busbw"), 1e9 + night),)
            append(
                str(home),
                RecordedRun(f"run {night}", (20000 + night) * 86400.0, "c 1", fingerprint({}), samples),
            )
        yield home
        server.shutdown()
    arrow_bucket._connected.cache_clear()


@pytest.mark.parametrize("end", [1 << 16, 64])
def test_a_bucket_says_what_the_same_files_say_in_a_folder(history, monkeypatch, end):
    monkeypatch.setattr(run_files, "_END", end)
    assert len(runs(URL)[0]) == 3
    assert runs(URL) == runs(str(history))
    assert runs(URL, "c 1", 20001 * 86400.0) == runs(str(history), "c 1", 20001 * 86400.0)
    assert nights(URL, "c 1") == nights(str(history), "c 1")
    assert runs("s3://bucket/another") == runs("s3://another/my nights") == ((), ())


def test_a_file_that_moves_away_is_looked_for_again(history, monkeypatch):
    """It is gone when it is read, and the second look finds two."""
    (first, *_) = runs(URL)[0]
    read = arrow_bucket.ArrowBucket.cat_file

    def late(self, path, start=0):
        (history / first.path).unlink(missing_ok=True)
        return read(self, path, start)

    monkeypatch.setattr(arrow_bucket.ArrowBucket, "cat_file", late)
    assert len(runs(URL)[0]) == 2


def test_no_run_is_added_where_it_can_be_read_and_not_written(history, monkeypatch):
    def without(_):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(location.library("fsspec.core"), "url_to_fs", without)
    assert len(runs(URL)[0]) == 3
    with pytest.raises(HistoryError, match="Install s3fs"):
        lasting(URL)


@pytest.mark.parametrize(
    "why", ["AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "refused", "forks"]
)
def test_what_arrow_cannot_or_must_not_read_is_asked_of_s3fs(history, monkeypatch, why):
    asked = []
    monkeypatch.setattr(
        location.library("fsspec.core"), "url_to_fs", lambda url: asked.append(url) or (location.Disk(), "x")
    )
    monkeypatch.setattr(S3, "refused", why == "refused")
    monkeypatch.setattr(arrow_bucket, "_may_fork", why == "forks")
    if why.startswith("AWS"):
        monkeypatch.delenv(why)
    location.open_folder(URL)
    assert asked == [URL]
