"""pyarrow, for whoever needs it: without the extra there is one line on what to install, and no traceback."""

from __future__ import annotations

from cartag.errors import IndexFileError

try:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq
except ModuleNotFoundError as e:
    raise IndexFileError("an index that is a folder of shards needs pyarrow: pip install 'cartag[ray]'") from e

__all__ = ["pa", "pc", "pq"]
