"""Runs of the history in a Parquet file: one row per series of a run, and a footer that says whose they are.

Every row repeats run, time, cluster and fingerprint (compressed to nothing), so that plain SQL over the
files needs no join; the footer holds them too, so that listing the runs reads no rows. A file holds one run, as a
night writes it, or several of one cluster and month, as ``compact`` puts them together. In front of the
footer, where no reader of Parquet looks, lies the SHA-256 of all the rest: readers of Parquet verify no
checksum of a page, and one flipped bit in a disk or cable would be a step in somebody's trend.
"""

from __future__ import annotations

import hashlib
import io
import json
from array import array
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from bench.model import typed_json
from bench.model.late_dataclass import dataclass
from bench.model.verdict import Status
from bench.store.history.location import HistoryError, is_gone, library
from bench.store.history.nights import Fingerprint, Series, fingerprint

FORMAT = 1
FORMAT_SEVERAL = 2  # of a file of several runs
_FOOTER = b"railgauge"
_MAGIC = b"PAR1"
_MOST_ROWS = 1 << 20  # ten months of nights of 3000 series
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
Wanted = Mapping[str, Callable[[str], bool]]
"""Name of a column of texts → a function that tells by the text whether a row is wanted."""
_SUBJECT = [name for name, _ in COLUMNS].index("subject")


@dataclass(frozen=True)
class Sample:
    """The value of one series in the run that is recorded, as it is written to the history.

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
class RecordedRun:
    """One run of one cluster; ``time`` is its start in seconds since 1970, UTC."""

    run: str
    time: float
    cluster: str
    fingerprint: Fingerprint
    samples: tuple[Sample, ...]


@dataclass(frozen=True)
class Entry:
    """A run as the footer of its file tells of it; ``path`` is relative to the history."""

    run: str
    time: float
    cluster: str
    fingerprint: Fingerprint
    rows: int
    path: str


class _RunInFile(NamedTuple):
    """A run in the footer of a file of several; ``fingerprint`` is a number in that of ``_Several``."""

    run: str
    time: float
    fingerprint: int
    rows: int


@dataclass(frozen=True)
class _Several:
    format: int
    cluster: str
    fingerprints: tuple[dict[str, str], ...]
    runs: tuple[_RunInFile, ...]


class Broken(Exception):
    """A file that is not a whole, readable run of this format; the message says in which way."""


def encode(*records: RecordedRun) -> bytes:
    """The sealed Parquet file of a run, or of several of one cluster; the same runs become the same bytes.

    Raises HistoryError for a run without samples, with two of one series, or with another cluster's.
    """
    for record in records:
        _refuse(record)
    arrow, parquet = library("pyarrow"), library("pyarrow.parquet")
    rows = [(record, sample) for record in records for sample in record.samples]
    rows.sort(key=lambda row: (_order(row[1].series), row[0].time, row[0].run))
    try:
        table = arrow.table(_columns(rows), schema=_schema(arrow))
    except (arrow.ArrowException, UnicodeEncodeError, OverflowError) as error:
        raise HistoryError(f"run {records[0].run!r} cannot be stored: {error}") from error
    table = table.replace_schema_metadata({_FOOTER: _footer_of(records)})
    file = io.BytesIO()
    parquet.write_table(table, file, compression="zstd", row_group_size=_GROUP)
    return _seal(file.getvalue())


def _footer_of(records: Sequence[RecordedRun]) -> bytes:
    first = records[0]
    if len(records) == 1:
        parts = dict(first.fingerprint)
        one = {
            "format": FORMAT,
            "run": first.run,
            "time": first.time,
            "cluster": first.cluster,
            "fingerprint": parts,
        }
        return json.dumps(one).encode()
    prints = {parts: number for number, parts in enumerate(dict.fromkeys(one.fingerprint for one in records))}
    runs = tuple(_RunInFile(one.run, one.time, prints[one.fingerprint], len(one.samples)) for one in records)
    return typed_json.encode(_Several(FORMAT_SEVERAL, first.cluster, tuple(map(dict, prints)), runs))


def decode(content: bytes) -> tuple[RecordedRun, ...]:
    """The runs in a file, once its seal is verified. Raises Broken."""
    arrow, parquet = library("pyarrow"), library("pyarrow.parquet")
    verify(content)
    try:
        file = parquet.ParquetFile(io.BytesIO(content))
        entries = _entries(file.metadata, "")
        rows = file.read()
    except (arrow.ArrowException, OSError, ValueError, RecursionError) as error:
        raise Broken(_one_line(error)) from error
    samples: dict[tuple[str, float, str, str], list[Sample]] = {}
    try:
        for run, time, cluster, parts, *row in zip(
            *(rows.column(name).to_pylist() for name, _ in COLUMNS), strict=True
        ):
            samples.setdefault((run, time, cluster, parts), []).append(_sample(cluster, *row))
    except ValueError as error:
        raise Broken(_one_line(error)) from error
    keys = [(one.run, one.time, one.cluster, json.dumps(dict(one.fingerprint))) for one in entries]
    if {key: len(found) for key, found in samples.items()} != {
        key: one.rows for key, one in zip(keys, entries, strict=True)
    }:
        raise Broken("its rows and its footer name different runs")
    return tuple(
        RecordedRun(one.run, one.time, one.cluster, one.fingerprint, tuple(samples[key]))
        for one, key in zip(entries, keys, strict=True)
    )


def rows_of(
    content: bytes,
    names: Sequence[str],
    subjects: tuple[str, str] | None = None,
    wanted: Wanted | None = None,
) -> list[tuple[Any, ...]]:
    """The columns ``names`` of the rows in a whole file; of those alone whose texts are ``wanted``.

    The subjects of all these lie between ``subjects``: groups of rows with none of them are passed over. Raises Broken.
    """
    arrow, parquet = library("pyarrow"), library("pyarrow.parquet")
    texts = [name for name, kind in COLUMNS if kind == "string"]
    try:
        file = parquet.ParquetFile(io.BytesIO(content), read_dictionary=texts)
        groups = [at for at in range(file.num_row_groups) if _may_hold(file.metadata.row_group(at), subjects)]
        table = file.read_row_groups(groups, columns=list(names), use_threads=False)
        if wanted is not None:
            table = _wanted_rows(table, wanted)
        return list(zip(*(_values(table.column(name)) for name in names), strict=True))
    except (arrow.ArrowException, OSError, ValueError) as error:
        raise Broken(_one_line(error)) from error


def _may_hold(group: Any, subjects: tuple[str, str] | None) -> bool:
    known = group.column(_SUBJECT).statistics
    if subjects is None or known is None or not known.has_min_max:
        return True
    return bool(known.min <= subjects[1] and subjects[0] <= known.max)


def _wanted_rows(table: Any, wanted: Wanted) -> Any:
    """The rows whose texts are wanted; ``wanted`` is called once for each text, not for each row."""
    kept, arrow = [], library("pyarrow")
    for batch in table.to_batches():
        for name, is_wanted in wanted.items():
            texts = batch.column(name)
            numbers = [at for at, each in enumerate(texts.dictionary.to_pylist()) if is_wanted(each)]
            if len(numbers) < len(texts.dictionary):
                # not ``arrow.array(numbers)``, which imports pandas where that is installed
                buffers = [None, arrow.py_buffer(array("i", numbers))]
                known = arrow.Array.from_buffers(arrow.int32(), len(numbers), buffers)
                batch = batch.filter(library("pyarrow.compute").is_in(texts.indices, known))
        kept.append(batch)
    return arrow.Table.from_batches(kept, table.schema)


def _values(column: Any) -> list[Any]:
    """A column as Python has it; the rows of a dictionary share its texts."""
    found = list[Any]()
    for chunk in column.chunks:
        if hasattr(chunk, "dictionary"):
            words = chunk.dictionary.to_pylist()
            found += [words[at] for at in chunk.indices.to_pylist()]
        else:
            found += chunk.to_pylist()
    return found


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
        raise Broken("its last bytes give a footer longer than the file: cut or damaged")
    return start


def read_entries(file: Any, path: str) -> tuple[Entry, ...]:
    """The runs in an open file, or in the one on a disk that a text names, from its footer alone.

    Raises Broken, and OSError where the file is gone.
    """
    arrow, parquet = library("pyarrow"), library("pyarrow.parquet")
    try:
        return _entries(parquet.read_metadata(file), path)
    except (arrow.ArrowException, OSError, ValueError, RecursionError) as error:
        if is_gone(error):
            raise
        raise Broken(_one_line(error)) from error


def _entries(metadata: Any, path: str) -> tuple[Entry, ...]:
    text = (metadata.metadata or {}).get(_FOOTER)
    if text is None:
        raise Broken("foreign: a Parquet file that RailGauge did not write")
    # equal rows take no room in a file: 20 million have 700 kB, and as many objects when they are read
    if metadata.num_rows > _MOST_ROWS:
        raise Broken(f"it has {metadata.num_rows} rows, and no file of a history more than {_MOST_ROWS}")
    footer = _footer(text)
    if not (metadata.schema.equals(_as_written()) or _has_our_columns(metadata.schema)):
        raise Broken("its columns are not those of a RailGauge run")
    if isinstance(footer, _Several):
        return _several(footer, metadata.num_rows, path)
    parts = fingerprint(footer["fingerprint"])
    return (Entry(footer["run"], float(footer["time"]), footer["cluster"], parts, metadata.num_rows, path),)


def _several(footer: _Several, rows: int, path: str) -> tuple[Entry, ...]:
    prints = [fingerprint(parts) for parts in footer.fingerprints]
    if len(footer.runs) < 2 or not all(0 <= one.fingerprint < len(prints) for one in footer.runs):
        raise Broken("its footer names no runs, or a fingerprint that it does not have")
    if sum(one.rows for one in footer.runs) != rows:
        raise Broken("its rows are not as many as its footer says")
    return tuple(
        Entry(one.run, one.time, footer.cluster, prints[one.fingerprint], one.rows, path)
        for one in footer.runs
    )


def _has_our_columns(schema: Any) -> bool:
    found: bool = schema.to_arrow_schema().equals(_schema(library("pyarrow")), check_metadata=False)
    return found


@cache
def _as_written() -> Any:
    """Our columns as Parquet has them: to compare these takes a tenth of the time."""
    arrow, parquet, file = library("pyarrow"), library("pyarrow.parquet"), io.BytesIO()
    # not ``empty_table()``, which imports pandas where that is installed
    parquet.write_table(arrow.Table.from_batches([], _schema(arrow)), file)
    return parquet.read_metadata(file).schema


def _footer(text: bytes) -> Mapping[str, Any] | _Several:
    footer = json.loads(text)
    if not isinstance(footer, dict) or not isinstance(footer.get("format"), int):
        raise Broken("its footer does not say which format it has")
    if footer["format"] > FORMAT_SEVERAL:
        raise Broken(f"format {footer['format']} is newer than this railgauge, which reads {FORMAT_SEVERAL}")
    if footer["format"] == FORMAT_SEVERAL:
        return typed_json.load(_Several, footer)
    wanted = {"run": str, "time": (int, float), "cluster": str, "fingerprint": dict}
    for key, kind in wanted.items():
        if not isinstance(footer.get(key), kind):  # type: ignore[arg-type]
            raise Broken(f"its footer has no usable {key}")
    return footer


def _refuse(record: RecordedRun) -> None:
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


def _columns(rows: Sequence[tuple[RecordedRun, Sample]]) -> dict[str, list[Any]]:
    texts = {each: json.dumps(dict(each)) for each in {record.fingerprint for record, _ in rows}}
    return {
        "run": [record.run for record, _ in rows],
        "time": [record.time for record, _ in rows],
        "cluster": [record.cluster for record, _ in rows],
        "fingerprint": [texts[record.fingerprint] for record, _ in rows],
        "collective": [sample.series.collective for _, sample in rows],
        "size_class": [sample.series.size_class for _, sample in rows],
        "quantity": [sample.series.quantity for _, sample in rows],
        "subject": [sample.series.subject for _, sample in rows],
        "value": [float(sample.value) for _, sample in rows],
        "rerun": [None if sample.rerun is None else float(sample.rerun) for _, sample in rows],
        "n": [sample.n for _, sample in rows],
        "status": [sample.status.value for _, sample in rows],
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
