"""``autosparse init NAME``: a new experiment file."""

from pathlib import Path
from typing import Annotated

import typer

from autosparse.cli.run import complete_file


def init(
    name: Annotated[str, typer.Argument(help="Name of the experiment; the file is NAME.yaml, here.")],
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="Copy this experiment, such as table-4 of `autosparse list experiments` [default: a small one that "
            "needs no data]",
            autocompletion=complete_file,
        ),
    ] = None,
) -> None:
    """Write a commented experiment file that is ready to run, and beside it the schema by which editors check it."""
    from autosparse.errors import AutosparseError
    from autosparse.experiment.files import SCHEMA_FILE, new_file
    from autosparse.experiment.json_schema import schema_text
    from autosparse.experiment.schema import check_name
    from autosparse.files import refusing_unwritable, write_atomic

    name = name.removesuffix(".yaml")
    check_name(name, "NAME")
    file, schema, text = Path(f"{name}.yaml"), Path(SCHEMA_FILE), schema_text()
    content = new_file(name, source)
    with refusing_unwritable(file):
        try:
            with file.open("x") as opened:
                opened.write(content)
        except FileExistsError as error:
            raise AutosparseError(f"{file} is there already: choose another name") from error
    if not schema.exists():
        with refusing_unwritable(schema):
            write_atomic(schema, text.encode())
    elif schema.read_text() != text:
        typer.echo(f"{schema} is of another version: `autosparse schema --out {schema}` renews it", err=True)
    typer.echo(f"{file}: next, `autosparse run {file} --dry-run`")
