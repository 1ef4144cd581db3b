"""The command line: one file a command, each a thin shell over the function of the same name.

This is the only place that prints and exits. Exit codes: 0 done, 1 failed, 2 wrong usage or settings, 3 `tag --strict`
met photos that could not be read; `find`: 1 nothing matched, 2 error; `check`: 1 something is damaged, missing or left
over.
"""

from __future__ import annotations

import errno
import gc
import os
import signal
import sys
import traceback
from typing import Annotated

import typer

from cartag.cli import cars, check, eval, export, find, learn, merge, models, output, review, show, stops, streams, tag
from cartag.errors import CartagError, UsageError
from cartag.paths import printable
from cartag.version import __version__

_READER_GONE = 141  # as shells report SIGPIPE

app = typer.Typer(
    name="cartag",
    help="Looks at a folder of photos and says which cars are in them. Offline; photos are only read.",
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode=None,  # plain help: starts faster, and the docs can show it
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("tag")(tag.command)
app.command("find")(find.command)
app.command("show")(show.command)
app.command("eval")(eval.command)
app.command("learn")(learn.command)
app.command("export")(export.command)
app.command("review")(review.command)
app.command("check")(check.command)
app.command("merge")(merge.command)
app.command("cars")(cars.command)
app.add_typer(models.app, name="models")


def _version(asked: bool) -> None:
    if asked:
        output.put(f"cartag {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    pass


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line and exits; turns every error of cartag into its line and its exit code."""
    arguments = [_with_home(word) for word in (sys.argv[1:] if arguments is None else arguments)]
    gc.set_threshold(100_000)  # large galleries make many small values that live to the end
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a service manager's stop saves like Ctrl-C does
    streams.prepare()
    try:
        code = _run(arguments)
        if (error := streams.lost()) is not None:
            code = _READER_GONE if error.errno == errno.EPIPE else _exit_code(arguments)
            if code != _READER_GONE:
                output.say(f"cartag: standard output: cannot be written ({error.strerror})")
    finally:
        # The process ends here; else the interpreter looks for cycles in all of torch before, for a second and more.
        gc.freeze()
    sys.exit(code)


def _with_home(word: str) -> str:
    """``--to=~/cars`` as ``--to ~/cars``, where the shell puts the home; else a folder ``~`` is made here."""
    option, _, value = word.partition("=")
    if not (option.startswith("--") and value.startswith("~")):
        return word
    from cartag.settings import at_home

    return f"{option}={at_home(value)}"


def _run(arguments: list[str]) -> int | str | None:
    """Runs a command; its exit code."""
    try:
        app(arguments, standalone_mode=True)
    except SystemExit as e:  # how typer always ends
        return e.code
    except streams.OutputLostError:  # and `main` says so
        return _exit_code(arguments)
    except CartagError as e:
        output.say(f"cartag: {e}")
        return 2 if isinstance(e, UsageError) else _exit_code(arguments)
    except MemoryError:
        output.say(
            "cartag: out of memory; what was done is kept, the same command goes on from there; "
            "CARTAG_BATCH_SIZE=8 and CARTAG_DECODE_THREADS=1 make it need less"
        )
        return _exit_code(arguments)
    except OSError as e:  # a file or folder that nobody thought of: still a line
        where = "" if e.filename is None else f"{printable(os.fsdecode(e.filename))}: "
        output.say(f"cartag: {where}{e.strerror or e}; mend that, and try again")
        return _exit_code(arguments)
    except (Exception, KeyboardInterrupt) as e:  # a mistake of ours; `find` must not seem to say "nothing matched"
        if stops.is_stop(e):  # while the command line is put together; typer answers one that comes later
            return tag.INTERRUPTED
        traceback.print_exc()
        return _exit_code(arguments)
    return 0


def _exit_code(arguments: list[str]) -> int:
    """Of a command that failed."""
    command = next((word for word in arguments if not word.startswith("-")), "")
    return 2 if command == "find" else 1
