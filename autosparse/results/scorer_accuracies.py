"""Mean accuracies of the networks that each scorer has pruned, also as figures of its logged model in MLflow."""

import statistics
import time
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from mlflow.entities import LoggedModel, Metric

from autosparse.results.groups import DATA, Group
from autosparse.tracking.entries import metric_name
from autosparse.tracking.log import Tracker
from autosparse.tracking.scorer_models import models_of

DIGITS = 3
"""Digits of a figure after the point, because MLflow's pages show them all."""


class Accuracy(NamedTuple):
    """The mean test accuracy, in percent, of the networks of one group, and the data that it was measured on."""

    mean: float
    metric: str
    """The name of this figure of a scorer, ``SPARSITY accuracy/MODEL/DATASET``: MLflow's pages cut off its end."""
    dataset: str
    digest: str
    """The data's fingerprint; empty if it is not known."""
    short: str = ""
    """The name without what sets the group apart: the figure's own name as long as nothing did. Empty if ablated."""


def accuracies(groups: Iterable[Group]) -> dict[str, Accuracy]:
    """Mean test accuracies by ``MODEL/DATASET/SPARSITY``, each over networks that differ only in their seed.

    The name of the method follows if there are several, or it is an ablation; and what sets its training apart, if
    networks of its model and data set were trained in several ways, maybe for another scorer.
    """
    apart: set[str] = set()
    found: dict[str, dict[str, Accuracy]] = {}
    for group in groups:
        if values := group.values("test_accuracy"):
            place = f"{group.model}/{group.dataset}/{group.sparsity:g}"
            told = ", ".join(filter(None, (group.note, group.name)))
            digest = dict(group.training).get(DATA, "")
            metric = f"{group.sparsity:g} accuracy/{metric_name(group.model)}/{metric_name(group.dataset)}"
            short = "" if group.ablated else metric
            mean = Accuracy(statistics.fmean(values.values()), metric, group.dataset, digest, short)
            found.setdefault(place, {})[told] = mean
            if group.ablated or group.note:
                apart.add(told)
    named = {}
    for place, means in sorted(found.items()):
        for told, mean in means.items():
            more = "" if len(means) == 1 and told not in apart else f"/{metric_name(told)}"
            named[f"{place}{more}"] = mean._replace(metric=mean.metric + more)
    return named


def write_accuracies(tracker: Tracker, groups: Sequence[Group]) -> None:
    """Log to each scorer's model, and so to its run, the accuracies that it does not have."""
    by_scorer: dict[str, list[Group]] = {}
    for group in groups:
        by_scorer.setdefault(group.scorer, []).append(group)
    by_scorer.pop("", None)
    if not by_scorer:
        return
    for model in models_of(tracker.client, tracker.experiment_id) or []:
        news = _news(model, accuracies(by_scorer.get((model.tags or {}).get("task_id", ""), [])))
        if news:
            tracker.client.log_batch(str(model.source_run_id), metrics=news)


def _news(model: LoggedModel, found: dict[str, Accuracy]) -> list[Metric]:
    """The accuracies that the model lacks, or for which it has another value; the last point of a metric counts.

    A figure from before there were several ways to train goes on as that of the oldest one, since MLflow cannot take
    it back.
    """
    known = {metric.key: metric for metric in sorted(model.metrics or [], key=lambda metric: metric.timestamp)}
    stale = known.keys() - {accuracy.metric for accuracy in found.values()}
    older = {a.short: a._replace(metric=a.short) for a in reversed(found.values()) if a.short in stale}
    news = []
    for accuracy in (*found.values(), *older.values()):
        before, value = known.get(accuracy.metric), round(accuracy.mean, DIGITS)
        if before is not None and before.value == value:
            continue
        now = max(int(1000 * time.time()), before.timestamp + 1 if before is not None else 0)
        data = {"dataset_name": accuracy.dataset, "dataset_digest": accuracy.digest} if accuracy.digest else {}
        news.append(Metric(accuracy.metric, value, now, 0, model_id=model.model_id, **data))
    return news
