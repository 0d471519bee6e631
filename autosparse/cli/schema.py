"""``autosparse schema``: the JSON schema of experiment files."""

from pathlib import Path
from typing import Annotated

import typer


def schema(out: Annotated[Path | None, typer.Option(help="Write it to this file instead.")] = None) -> None:
    """Print the JSON schema of experiment files, by which editors complete and check them."""
    from autosparse.experiment.json_schema import schema_text
    from autosparse.files import refusing_unwritable, write_atomic

    if out is None:
        typer.echo(schema_text(), nl=False)
        return
    with refusing_unwritable(out):
        write_atomic(out, schema_text().encode())
    typer.echo(f"{out}: name it in a file's first line: # yaml-language-server: $schema={out}")
