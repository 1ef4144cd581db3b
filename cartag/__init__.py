"""cartag looks at a folder of photos and says which cars are in them.

Every command of the command line is a function here: `tag`, `find`, `show`, `evaluate`, `learn`, `export`,
`review`, `cars`, `models`; `load` reads an index. They are imported on first use, so that ``import cartag`` costs
nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cartag.version import __version__

if TYPE_CHECKING:
    from cartag.catalogs import Mention
    from cartag.exporting import ExportReport, export
    from cartag.finding import Hit, find
    from cartag.learning import LearnReport, learn
    from cartag.listing import Draft, ModelInfo, cars, fetch, models
    from cartag.measuring import DatasetResult, Evaluation, evaluate, evaluate_dataset
    from cartag.merging import MergeReport, merge
    from cartag.reviewing import ReviewReport, review
    from cartag.showing import Summary, show
    from cartag.state import Index, read_index as load
    from cartag.tagging import TagReport, tag

_WHERE = {
    "DatasetResult": ("cartag.measuring", "DatasetResult"),
    "Draft": ("cartag.listing", "Draft"),
    "Evaluation": ("cartag.measuring", "Evaluation"),
    "ExportReport": ("cartag.exporting", "ExportReport"),
    "Hit": ("cartag.finding", "Hit"),
    "Index": ("cartag.state", "Index"),
    "LearnReport": ("cartag.learning", "LearnReport"),
    "Mention": ("cartag.catalogs", "Mention"),
    "MergeReport": ("cartag.merging", "MergeReport"),
    "ModelInfo": ("cartag.listing", "ModelInfo"),
    "ReviewReport": ("cartag.reviewing", "ReviewReport"),
    "Summary": ("cartag.showing", "Summary"),
    "TagReport": ("cartag.tagging", "TagReport"),
    "cars": ("cartag.listing", "cars"),
    "evaluate": ("cartag.measuring", "evaluate"),
    "evaluate_dataset": ("cartag.measuring", "evaluate_dataset"),
    "export": ("cartag.exporting", "export"),
    "fetch": ("cartag.listing", "fetch"),
    "find": ("cartag.finding", "find"),
    "learn": ("cartag.learning", "learn"),
    "load": ("cartag.state", "read_index"),
    "merge": ("cartag.merging", "merge"),
    "models": ("cartag.listing", "models"),
    "review": ("cartag.reviewing", "review"),
    "show": ("cartag.showing", "show"),
    "tag": ("cartag.tagging", "tag"),
}

__all__ = [
    "DatasetResult",
    "Draft",
    "Evaluation",
    "ExportReport",
    "Hit",
    "Index",
    "LearnReport",
    "Mention",
    "MergeReport",
    "ModelInfo",
    "ReviewReport",
    "Summary",
    "TagReport",
    "__version__",
    "cars",
    "evaluate",
    "evaluate_dataset",
    "export",
    "fetch",
    "find",
    "learn",
    "load",
    "merge",
    "models",
    "review",
    "show",
    "tag",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'cartag' has no attribute {name!r}")
    from importlib import import_module

    module, attribute = _WHERE[name]
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return __all__
