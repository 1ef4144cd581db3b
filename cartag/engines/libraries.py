"""Ray, DuckDB and pyarrow for this room: without the extra there is one line on what to install, and no traceback."""

from __future__ import annotations

import os

from cartag.errors import EngineError

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to anybody
os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # what goes wrong is told by cartag, in a line
os.environ.setdefault("RAY_DATA_LOG_LEVEL", "ERROR")

try:
    import duckdb
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq
    import ray
    import ray.data
except ModuleNotFoundError as e:
    raise EngineError(f"--engine ray needs more ({e.name} is not here): pip install 'cartag[ray]'") from e

try:
    from ray.data._internal.execution.execution_callback import ExecutionCallback
except ImportError:  # Ray keeps it to itself, and may move it: then a run that ends early leaves Ray to end its own
    ExecutionCallback = object

__all__ = ["ExecutionCallback", "duckdb", "pa", "pc", "pq", "ray"]
