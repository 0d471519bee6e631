"""``autosparse storage``: gather the records of many finished cells in a few files, or undo that."""

import typer

from autosparse.cli import common

app = typer.Typer(no_args_is_help=True, help="Gather the records of many finished cells in a few files, or undo that.")


@app.command()
def gather(storage: common.Storage = common.STORAGE) -> None:
    """Move the records of finished cells into a few large files, which are faster to read.

    Versions up to 0.2.0 cannot read them.
    """
    from autosparse.experiment.gathering import gather
    from autosparse.experiment.store import Store

    store = Store(storage)
    with store.one_driver():
        done = gather(store)
    left = f"; {done.left:,} files in cells/ are not whole records and stay" if done.left else ""
    mended = f"; {done.mended:,} damaged segments written anew" if done.mended else ""
    typer.echo(
        f"{done.records:,} records gathered in {done.segments:,} segments of {store.place}{mended}{left}", err=True
    )


@app.command()
def scatter(storage: common.Storage = common.STORAGE) -> None:
    """Give all gathered records files of their own again, as older versions of autosparse need them."""
    from autosparse.experiment.gathering import loosen
    from autosparse.experiment.store import Store

    store = Store(storage)
    with store.one_driver():
        count = loosen(store)
    typer.echo(f"{count:,} records of {store.place} have files of their own again", err=True)
