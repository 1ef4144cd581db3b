"""cartag looks at a folder of photos and says which cars are in them.

Every command of the command line is a function here: `tag`, `find`, `show`, `evaluate`, `learn`, `export`,
`review`, `check`, `merge`, `cars`, `models` (with `fetch` and `check_model`); `load` reads an index. They are imported
on first use, so that ``import cartag`` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cartag.version import __version__

if TYPE_CHECKING:
    from cartag.catalogs import Mention
    from cartag.checking import CheckReport, Finding, check
    from cartag.engines import ClusterReport, tag
    from cartag.exporting import ExportReport, export
    from cartag.finding import Hit, find
    from cartag.learning import LearnReport, learn
    from cartag.listing import Draft, ModelInfo, cars, fetch, models
    from cartag.measuring import DatasetResult, Evaluation, evaluate, evaluate_dataset
    from cartag.merging import MergeReport, merge
    from cartag.reviewing import ReviewReport, review
    from cartag.showing import Summary, show
    from cartag.state import Index, load
    from cartag.tagging import TagReport
    from cartag.trying import Trial, check_model

_WHERE = {
    "CheckReport": ("cartag.checking", "CheckReport"),
    "ClusterReport": ("cartag.engines", "ClusterReport"),
    "DatasetResult": ("cartag.measuring", "DatasetResult"),
    "Draft": ("cartag.listing", "Draft"),
    "Evaluation": ("cartag.measuring", "Evaluation"),
    "ExportReport": ("cartag.exporting", "ExportReport"),
    "Finding": ("cartag.checking", "Finding"),
    "Hit": ("cartag.finding", "Hit"),
    "Index": ("cartag.state", "Index"),
    "LearnReport": ("cartag.learning", "LearnReport"),
    "Mention": ("cartag.catalogs", "Mention"),
    "MergeReport": ("cartag.merging", "MergeReport"),
    "ModelInfo": ("cartag.listing", "ModelInfo"),
    "ReviewReport": ("cartag.reviewing", "ReviewReport"),
    "Summary": ("cartag.showing", "Summary"),
    "TagReport": ("cartag.tagging", "TagReport"),
    "Trial": ("cartag.trying", "Trial"),
    "cars": ("cartag.listing", "cars"),
    "check": ("cartag.checking", "check"),
    "check_model": ("cartag.trying", "check_model"),
    "evaluate": ("cartag.measuring", "evaluate"),
    "evaluate_dataset": ("cartag.measuring", "evaluate_dataset"),
    "export": ("cartag.exporting", "export"),
    "fetch": ("cartag.listing", "fetch"),
    "find": ("cartag.finding", "find"),
    "learn": ("cartag.learning", "learn"),
    "load": ("cartag.state", "load"),
    "merge": ("cartag.merging", "merge"),
    "models": ("cartag.listing", "models"),
    "review": ("cartag.reviewing", "review"),
    "show": ("cartag.showing", "show"),
    "tag": ("cartag.engines", "tag"),
}

__all__ = [
    "CheckReport",
    "ClusterReport",
    "DatasetResult",
    "Draft",
    "Evaluation",
    "ExportReport",
    "Finding",
    "Hit",
    "Index",
    "LearnReport",
    "Mention",
    "MergeReport",
    "ModelInfo",
    "ReviewReport",
    "Summary",
    "TagReport",
    "Trial",
    "__version__",
    "cars",
    "check",
    "check_model",
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
