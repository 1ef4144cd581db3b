"""The command line: one file a command, each a thin shell over the function of the same name.

This is the only place that prints and exits. Exit codes: 0 done, 1 failed, 2 wrong usage or settings, 3 `tag --strict`
met photos that could not be read; `find`: 1 nothing matched, 2 error.
"""

from __future__ import annotations

import gc
import signal
import sys
from typing import Annotated

import typer

from cartag.cli import cars, eval, export, find, learn, models, output, review, show, tag
from cartag.errors import CartagError, UsageError
from cartag.version import __version__

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
    arguments = sys.argv[1:] if arguments is None else arguments
    gc.set_threshold(100_000)  # large galleries make many small values that live to the end
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a service manager's stop saves like Ctrl-C does
    try:
        code = app(arguments, standalone_mode=True)
    except CartagError as e:
        output.say(f"cartag: {e}")
        code = _exit_code(e, arguments)
    except MemoryError:
        error = CartagError(
            "out of memory; what was done is kept, the same command goes on from there; "
            "CARTAG_BATCH_SIZE=8 and CARTAG_DECODE_THREADS=1 make it need less"
        )
        output.say(f"cartag: {error}")
        code = _exit_code(error, arguments)
    except BrokenPipeError:  # `cartag find ... | head`
        sys.stderr.close()
        code = 0
    finally:  # also when click exits, as it always does
        # The process ends here; else the interpreter looks for cycles in all of torch before, for a second and more.
        gc.freeze()
    sys.exit(code)


def _exit_code(error: CartagError, arguments: list[str]) -> int:
    command = next((word for word in arguments if not word.startswith("-")), "")
    return 2 if isinstance(error, UsageError) or command == "find" else 1
