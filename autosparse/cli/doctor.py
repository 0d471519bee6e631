"""``autosparse doctor``: is everything here that a run needs?"""

from typing import Annotated

import typer

from autosparse.cli import common


def doctor(
    tracking_uri: common.TrackingUri = None,
    data_root: common.DataRoot = None,
    address: common.Address = None,
    skip_ray: Annotated[
        bool, typer.Option("--skip-ray", help="Do not start or reach Ray (saves ten seconds).")
    ] = False,
    as_json: common.Json = False,
) -> None:
    """Say what is installed, which devices there are, whether MLflow and Ray answer, and which data are there."""
    from rich.markup import escape
    from rich.table import Table

    from autosparse.runner.driver.doctor import checkup

    findings = checkup(tracking_uri, data_root, address, skip_ray)
    if as_json:
        common.emit([{"check": f.check, "ok": f.ok, "detail": f.detail} for f in findings])
    else:
        table = Table("check", "", "detail", title="autosparse doctor")
        for f in findings:
            mark = {True: "[green]ok[/green]", False: "[red]broken[/red]", None: "[dim]absent[/dim]"}[f.ok]
            table.add_row(f.check, mark, escape(f.detail))
        common.out().print(table)
    raise typer.Exit(1 if any(f.ok is False for f in findings) else 0)
