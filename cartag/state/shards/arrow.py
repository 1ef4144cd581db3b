"""pyarrow, for whoever needs it: without the extra there is one line on what to install, and no traceback."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cartag.errors import IndexFileError

try:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq
except ModuleNotFoundError as e:
    raise IndexFileError("an index that is a folder of shards needs pyarrow: pip install 'cartag[ray]'") from e

__all__ = ["mask_of", "pa", "pc", "pq", "texts_of"]

# `pa.array` asks of what it is given whether it comes from pandas, and where that is installed imports it to ask: a
# quarter of a second, and a query by car takes little more than one. So what a query hands over is made of its bytes.


def texts_of(values: Sequence[str]) -> Any:
    """Texts as an array."""
    data = [value.encode() for value in values]
    ends = np.cumsum([0, *map(len, data)], dtype=np.int64).astype(np.int32)
    return pa.Array.from_buffers(pa.string(), len(data), [None, pa.py_buffer(ends), pa.py_buffer(b"".join(data))])


def mask_of(values: Sequence[bool]) -> Any:
    """Truth values as an array."""
    bits = np.packbits(np.asarray(values, bool), bitorder="little")
    return pa.Array.from_buffers(pa.bool_(), len(values), [None, pa.py_buffer(bits)])
