"""The exception tree: everything that cartag raises on purpose.

CartagError                    a message a person can act on: what, where, remedy
├── UsageError                 the call or a setting is wrong
│   ├── SettingsError          a settings file or CARTAG_* variable
│   ├── CatalogError           a catalog file
│   ├── LabelsError            a hand-labels file
│   ├── ArticleError           an article to read cars from
│   ├── ForeignFileError       a file is in the way that cartag did not make, or that a person changed since
│   └── UnknownCarError        a car that the catalog does not hold (carries `suggestions`)
├── GalleryError               the gallery is missing or cannot be read
├── IndexFileError             an index is missing, damaged, of a newer schema, or cannot be written
├── ReviewError                a review cannot be served, or was asked for what cannot be done
├── ExportError                something that an export writes or merges with cannot be read or written
├── EngineError                a cluster cannot be had, or a run on it stood still
├── ModelError                 a model is unknown, incomplete, or not here and cannot be fetched
└── PhotoError                 one photo cannot be read (carries `reason`); becomes a record, never ends a run

Only `cartag.cli` turns these into exit codes.
"""

from __future__ import annotations

from collections.abc import Sequence


class CartagError(Exception):
    """A failure with one line for the user: what happened, where, and what to do."""


class UsageError(CartagError):
    """The call or one of its settings is wrong."""


class SettingsError(UsageError):
    """A settings file or a ``CARTAG_*`` variable holds something that cartag does not know."""


class CatalogError(UsageError):
    """A catalog file is not usable; the message names the file and the place in it."""


class LabelsError(UsageError):
    """A hand-labels file is not usable; the message names the file and the line."""


class ArticleError(UsageError):
    """An article is not readable as text; the message names the file and, where it can, the byte."""


class ForeignFileError(UsageError):
    """A file is in the way that cartag did not make, or that a person changed since: it stays as it is."""


class UnknownCarError(UsageError):
    """A car was asked for that the catalog does not hold."""

    def __init__(self, message: str, suggestions: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.suggestions = tuple(suggestions)


class GalleryError(CartagError):
    """The gallery is missing, is no folder, or cannot be read."""


class IndexFileError(CartagError):
    """An index is missing, damaged, of a newer schema, or cannot be written."""


class ReviewError(CartagError):
    """A review cannot be served, or its page asked for something that cannot be done."""


class ExportError(CartagError):
    """A file of an export cannot be read or written."""


class EngineError(CartagError):
    """A cluster cannot be had, does not fit, or a run on it stood still."""


class ModelError(CartagError):
    """A model is unknown, incomplete, or neither here nor to be fetched."""


class PhotoError(CartagError):
    """One photo cannot be read.

    ``reason`` is one of `cartag.values.ERROR_REASONS`; the message is the detail.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
