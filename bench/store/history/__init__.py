"""The history of all clusters: a folder with one immutable Parquet file per run, or per month once it is over.

Any number of writers append without a lock, on a local disk, NFS or a bucket. pyarrow and fsspec come with
``railgauge[nightly]`` and are imported when used.
"""

from bench.store.history.accept import accept, acceptances
from bench.store.history.compact import Compacted, compact
from bench.store.history.location import (
    HistoryError,
    LeftOutFile,
    MissingLibrary,
    WrongPlace,
    create,
    lasting,
)
from bench.store.history.parquet_file import Entry, RecordedRun, Sample
from bench.store.history.query import export, nights, nights_of_node
from bench.store.history.run_files import append, check, read, runs, strangers
