"""``autosparse --version``."""

from typing import Annotated

import typer


def _tell(asked: bool) -> None:
    if not asked:
        return
    from autosparse.experiment.commit import UNKNOWN, git_commit
    from autosparse.version import __version__

    commit = git_commit()
    typer.echo(f"autosparse {__version__}" + ("" if commit == UNKNOWN else f" (git {commit})"))
    raise typer.Exit


Version = Annotated[
    bool,
    typer.Option("--version", callback=_tell, is_eager=True, help="Show the version, and the git commit if known."),
]
