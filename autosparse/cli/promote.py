"""``autosparse promote``: the best scorer of an experiment becomes the registry's champion."""

from typing import Annotated

import typer

from autosparse.cli import common


def promote(
    experiment: common.ExperimentName,
    sparsity: Annotated[float | None, typer.Option(help="Judge at this sparsity alone.", callback=common.share)] = None,
    metric: Annotated[str, typer.Option(help="The metric to judge by.")] = "test_accuracy",
    scorer: Annotated[str, typer.Option(help="Promote this scorer instead.")] = "",
    tracking_uri: common.TrackingUri = None,
    as_json: common.Json = False,
) -> None:
    """Register the best scorer as models:/autos and set the alias champion."""
    from autosparse.results.model_registry import promote as register_best

    client, experiment = common.client_and_name(experiment, tracking_uri)
    champion = register_best(client, experiment, sparsity, metric, scorer)
    address = f"models:/{champion['name']}@{champion['alias']}"
    common.tell(champion, f"{address} is version {champion['version']}: scorer {champion['scorer']}", as_json)
