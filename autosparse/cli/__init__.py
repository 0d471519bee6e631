"""The command line: ``autosparse``. One file per command: parse, call, print."""

import sys
import traceback
from collections.abc import Callable
from typing import Annotated

import typer

from autosparse.cli import (
    best,
    card,
    compare,
    demo,
    doctor,
    explain,
    fit,
    init,
    irp,
    promote,
    prune,
    report,
    run,
    schema,
    score,
    storage,
    sweep,
    watch,
)
from autosparse.cli import help as keys
from autosparse.cli import list as listings
from autosparse.errors import AutosparseError, safe_uri
from autosparse.runner.driver.stopping import heed_signals
from autosparse.users_code import place_of_error

app = typer.Typer(
    name="autosparse",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Prune neural networks at initialisation, compare the methods, and learn a better one.",
)


def _tell_version(asked: bool) -> None:
    if not asked:
        return
    from autosparse.experiment.commit import UNKNOWN, git_commit
    from autosparse.version import __version__

    commit = git_commit()
    typer.echo(f"autosparse {__version__}" + ("" if commit == UNKNOWN else f" (git {commit})"))
    raise typer.Exit


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_tell_version, is_eager=True, help="Show the version, and the git commit if known."
        ),
    ] = False,
) -> None:
    """Take the options of every command; :func:`main` accepts ``--debug`` anywhere on the line."""


COMMANDS: dict[str, Callable[..., None]] = {
    "demo": demo.demo,
    "init": init.init,
    "irp": irp.irp,
    "fit": fit.fit,
    "score": score.score,
    "prune": prune.prune,
    "run": run.run,
    "sweep": sweep.sweep,
    "watch": watch.watch,
    "best": best.best,
    "compare": compare.compare,
    "promote": promote.promote,
    "report": report.report,
    "explain": explain.explain,
    "card": card.card,
    "list": listings.show,
    "help": keys.explain_key,
    "schema": schema.schema,
    "doctor": doctor.doctor,
}
for name, command in COMMANDS.items():
    app.command(name)(command)
app.add_typer(storage.app, name="storage")


def main() -> None:
    """Run the command line: exit code 0 for success, 1 for failed work (or Ctrl-C: 130), 2 for bad usage."""
    heed_signals()
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    debug = len(arguments) < len(sys.argv) - 1
    try:
        app(args=arguments)
    except Exception as error:
        if debug:
            typer.echo(safe_uri(traceback.format_exc()), err=True)
        _tell(error)
        sys.exit(error.exit_code if isinstance(error, AutosparseError) else 1)


def _tell(error: Exception) -> None:
    expected = isinstance(error, AutosparseError)
    place = place_of_error(error)
    where = f" at {place}" if place else ""
    cure = "; run again with --debug to see where"
    text = str(error) if expected else f"unexpected {type(error).__name__}: {error}{where}{cure}"
    for line in safe_uri(text).splitlines():
        typer.echo(f"error: {line}", err=True)
