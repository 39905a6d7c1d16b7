"""A run in the history, and its Parquet file: one row per series, and a footer that says whose it is.

Every row repeats run, time, cluster and fingerprint (compressed to nothing), so that plain SQL over the
files needs no join; the footer holds them too, so that listing the runs reads no rows. In front of the
footer, where no reader of Parquet looks, lies the SHA-256 of all the rest: DuckDB verifies no checksum of a
page, and one flipped bit in a disk or cable would be a step in somebody's trend.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from bench.model.verdict import Status
from bench.store.history.folder import HistoryError, library
from bench.store.history.nights import Fingerprint, Series, fingerprint

FORMAT = 1
_FOOTER = b"railgauge"
_MAGIC = b"PAR1"
_SEAL = b"railgauge-sha256"
# Rows that are read or passed over together: one series of a large fleet lies in one or two groups
_GROUP = 16384
COLUMNS = (
    ("run", "string"),
    ("time", "double"),
    ("cluster", "string"),
    ("fingerprint", "string"),
    ("collective", "string"),
    ("size_class", "string"),
    ("quantity", "string"),
    ("subject", "string"),
    ("value", "double"),
    ("rerun", "double"),
    ("n", "int64"),
    ("status", "string"),
)
_NULLABLE = ("rerun",)


@dataclass(frozen=True)
class Sample:
    """What one run says of one series.

    value   bytes per second or seconds; NaN where the measurement failed
    n       measurements that ``value`` sums up
    status  of the measurement itself, not of its drift
    rerun   the second measurement of the same night; None where none was made
    """

    series: Series
    value: float
    n: int = 1
    status: Status = Status.PASS
    rerun: float | None = None


@dataclass(frozen=True)
class Record:
    """One run of one cluster; ``time`` is its start in seconds since 1970, UTC."""

    run: str
    time: float
    cluster: str
    fingerprint: Fingerprint
    samples: tuple[Sample, ...]


@dataclass(frozen=True)
class Entry:
    """A run as its footer tells of it; ``path`` is relative to the history."""

    run: str
    time: float
    cluster: str
    fingerprint: Fingerprint
    rows: int
    path: str


class Broken(Exception):
    """A file that is not a whole, readable run of this format; the message says in which way."""


def encode(record: Record) -> bytes:
    """The sealed Parquet file of a run.

    Raises HistoryError for a run without samples, with two of one series, or with another cluster's.
    """
    _refuse(record)
    arrow, parquet = library("pyarrow"), library("pyarrow.parquet")
    samples = sorted(record.samples, key=lambda sample: _order(sample.series))
    footer = {
        "format": FORMAT,
        "run": record.run,
        "time": record.time,
        "cluster": record.cluster,
        "fingerprint": dict(record.fingerprint),
    }
    try:
        table = arrow.table(_columns(record, samples), schema=_schema(arrow))
    except (arrow.ArrowException, UnicodeEncodeError, OverflowError) as error:
        raise HistoryError(f"run {record.run!r} cannot be stored: {error}") from error
    table = table.replace_schema_metadata({_FOOTER: json.dumps(footer).encode()})
    file = io.BytesIO()
    parquet.write_table(table, file, compression="zstd", row_group_size=_GROUP)
    return _seal(file.getvalue())


def decode(content: bytes) -> Record:
    """The run in a file, once its seal is verified. Raises Broken."""
    arrow, parquet = library("pyarrow"), library("pyarrow.parquet")
    verify(content)
    try:
        file = parquet.ParquetFile(io.BytesIO(content))
        entry = _entry(file.metadata, "")
        rows = file.read()
        fixed = (entry.run, entry.time, entry.cluster, json.dumps(dict(entry.fingerprint)))
        for (name, _), wanted in zip(COLUMNS, fixed, strict=False):
            if rows.column(name).unique().to_pylist() != [wanted]:
                raise Broken(f"its rows and its footer differ in the {name}")
        columns = [rows.column(name).to_pylist() for name, _ in COLUMNS[len(fixed) :]]
        samples = (_sample(entry.cluster, *row) for row in zip(*columns, strict=True))
        return Record(entry.run, entry.time, entry.cluster, entry.fingerprint, tuple(samples))
    except (arrow.ArrowException, OSError, ValueError, RecursionError) as error:
        raise Broken(_one_line(error)) from error


def verify(content: bytes) -> None:
    """Compare a file with its seal. Raises Broken for a file that was cut, altered or never sealed."""
    start = _footer_start(content)
    seal = start - hashlib.sha256().digest_size
    if seal < len(_SEAL) or content[seal - len(_SEAL) : seal] != _SEAL:
        raise Broken("foreign: a Parquet file without the checksum that RailGauge writes")
    digest = hashlib.sha256(content[: seal - len(_SEAL)])
    digest.update(content[start:])
    if digest.digest() != content[seal:start]:
        raise Broken("altered: its content and its checksum differ; restore it from a copy")


def _seal(content: bytes) -> bytes:
    start = _footer_start(content)
    return content[:start] + _SEAL + hashlib.sha256(content).digest() + content[start:]


def _footer_start(content: bytes) -> int:
    """Where the footer begins: a Parquet file ends in footer, 4 bytes of its length, ``PAR1``."""
    if content[-4:] != _MAGIC or content[:4] != _MAGIC:
        raise Broken("truncated, or no Parquet file: it does not begin and end in PAR1")
    start = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    if start < len(_MAGIC):
        raise Broken("its footer is said to be longer than the file")
    return start


def read_entry(file: Any, path: str) -> Entry:
    """The run in an open file, or in the one on a disk that a text names, from its footer alone. Raises Broken."""
    arrow, parquet = library("pyarrow"), library("pyarrow.parquet")
    try:
        return _entry(_on_disk()(file) if isinstance(file, str) else parquet.read_metadata(file), path)
    except (arrow.ArrowException, OSError, ValueError, RecursionError) as error:
        raise Broken(_one_line(error)) from error


@cache
def _on_disk() -> Callable[[str], Any]:
    """A reader of footers that takes half of the time of ``parquet.read_metadata``."""
    form, disk = library("pyarrow.dataset").ParquetFileFormat(), library("pyarrow.fs").LocalFileSystem()
    return lambda full: form.make_fragment(full, disk).metadata


def _entry(metadata: Any, path: str) -> Entry:
    text = (metadata.metadata or {}).get(_FOOTER)
    if text is None:
        raise Broken("foreign: a Parquet file that RailGauge did not write")
    footer = _footer(text)
    if not (metadata.schema.equals(_as_written()) or _has_our_columns(metadata.schema)):
        raise Broken("its columns are not those of a RailGauge run")
    return Entry(
        run=footer["run"],
        time=float(footer["time"]),
        cluster=footer["cluster"],
        fingerprint=fingerprint(footer["fingerprint"]),
        rows=metadata.num_rows,
        path=path,
    )


def _has_our_columns(schema: Any) -> bool:
    found: bool = schema.to_arrow_schema().equals(_schema(library("pyarrow")), check_metadata=False)
    return found


@cache
def _as_written() -> Any:
    """Our columns as Parquet has them: to compare these takes a tenth of the time."""
    arrow, parquet, file = library("pyarrow"), library("pyarrow.parquet"), io.BytesIO()
    parquet.write_table(_schema(arrow).empty_table(), file)
    return parquet.read_metadata(file).schema


def _footer(text: bytes) -> Mapping[str, Any]:
    footer = json.loads(text)
    if not isinstance(footer, dict) or not isinstance(footer.get("format"), int):
        raise Broken("its footer does not say which format it has")
    if footer["format"] > FORMAT:
        raise Broken(f"format {footer['format']} is newer than this railgauge, which reads {FORMAT}")
    wanted = {"run": str, "time": (int, float), "cluster": str, "fingerprint": dict}
    for key, kind in wanted.items():
        if not isinstance(footer.get(key), kind):  # type: ignore[arg-type]
            raise Broken(f"its footer has no usable {key}")
    return footer


def _refuse(record: Record) -> None:
    if not record.samples:
        raise HistoryError(f"run {record.run!r} measured nothing, and is not recorded")
    series = [sample.series for sample in record.samples]
    if len(set(series)) != len(series):
        raise HistoryError(f"run {record.run!r} has two samples of one series")
    others = {one.cluster for one in series} - {record.cluster}
    if others:
        raise HistoryError(f"run {record.run!r} of cluster {record.cluster!r} has samples of {min(others)!r}")


def _order(series: Series) -> tuple[bool, str, str, str, str]:
    """Whole-cluster series first: the trends of every night are read far more often than single rails."""
    return bool(series.subject), series.collective, series.size_class, series.quantity, series.subject


@cache
def _schema(arrow: Any) -> Any:
    kinds = {"string": arrow.string(), "double": arrow.float64(), "int64": arrow.int64()}
    return arrow.schema(
        [arrow.field(name, kinds[kind], nullable=name in _NULLABLE) for name, kind in COLUMNS]
    )


def _columns(record: Record, samples: list[Sample]) -> dict[str, list[Any]]:
    count = len(samples)
    return {
        "run": [record.run] * count,
        "time": [record.time] * count,
        "cluster": [record.cluster] * count,
        "fingerprint": [json.dumps(dict(record.fingerprint))] * count,
        "collective": [sample.series.collective for sample in samples],
        "size_class": [sample.series.size_class for sample in samples],
        "quantity": [sample.series.quantity for sample in samples],
        "subject": [sample.series.subject for sample in samples],
        "value": [float(sample.value) for sample in samples],
        "rerun": [None if sample.rerun is None else float(sample.rerun) for sample in samples],
        "n": [sample.n for sample in samples],
        "status": [sample.status.value for sample in samples],
    }


def _sample(
    cluster: str,
    collective: str,
    size_class: str,
    quantity: str,
    subject: str,
    value: float,
    rerun: float | None,
    n: int,
    status: str,
) -> Sample:
    """A sample from its row; the order is that of COLUMNS."""
    return Sample(Series(cluster, collective, size_class, quantity, subject), value, n, Status(status), rerun)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
