"""Fitting a scorer: regression of the survival score on the initial features."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from autosparse.autos.backbones import BACKBONES, check_training
from autosparse.autos.dagger import Dagger, rows_met
from autosparse.autos.diagnostics import binned_mean_r_squared, densities_in_rounds, report_of, sampled_densities
from autosparse.autos.features import check_inputs, rounds_for
from autosparse.autos.learn import ASKED_OF_COSTLY, HELD_OUT, AfterEpoch, Learn, Split
from autosparse.autos.regression import State, Training
from autosparse.autos.rows import FEWEST, at_initialisation, joined
from autosparse.autos.scorer import Scorer
from autosparse.autos.states import in_states, states_of
from autosparse.autos.streamed import write_rows
from autosparse.autos.streamed.rows import Mapped, RowStream, one_by_one
from autosparse.criteria.briefly import Steps
from autosparse.data.split import Dataset
from autosparse.errors import AutosparseError
from autosparse.irp.survival import Survival
from autosparse.training.execution import Execution
from autosparse.version import __version__

MOST_ROWS = 20_000_000
"""The most rows of states that a fit reads: a large network has hundreds of millions, and a sample says as much."""


def fit_scorer(
    survivals: Survival | Sequence[Survival],
    backbone: str = "mlp",
    inputs: Sequence[str] = ("param", "grad"),
    epochs: int = Training.epochs,
    batch_size: int = Training.batch_size,
    lr: float = Training.lr,
    rows: int | None = None,
    seed: int = 0,
    device: torch.device | str = "cpu",
    on_epoch: AfterEpoch | None = None,
    resume: State | None = None,
    rounds: int | None = None,
    steps: int | None = None,
    examples: int | None = None,
    step_lr: float = Steps.lr,
    step_batch_size: int = Steps.batch_size,
    datasets: Mapping[str, Dataset] | None = None,
    dagger: Dagger | None = None,
    execution: Execution | None = None,
    rows_in: str | Path | None = None,
    mapped: Mapped = one_by_one,
) -> Scorer:
    """Fit AutoS on one or more survival datasets, by squared error.

    >>> data = asp.load_dataset("digits")
    >>> model = asp.build_model("lenet-300-100", 10, data.input_shape)
    >>> survival = asp.rewind_prune(model, data, iterations=2, recipe=asp.Recipe(epochs=1))
    >>> scorer = asp.fit_scorer(survival, backbone="conditional-mean")
    >>> asp.prune(model, "autos", 0.9, data.train.batches(128), scorer=scorer)
    Masks(3 layers, 5020 of 50200 weights kept, sparsity 0.9000)

    With inputs other than the paper's, or ``rounds``, the scorer learns from features of the network as IRP
    masked it after its iterations (:func:`autosparse.autos.states.in_states`). Such a scorer prunes in rounds.

    A tenth of the rows is held out. ``scorer.report`` holds ``rows_used``, ``held_out_r2``, ``train_r2`` (on as many
    rows), ``binned_mean_r2`` (what a conditional mean of all train rows reaches on the rows of ``held_out_r2``),
    ``layer_density_at_95`` and ``warnings``; for a scorer that prunes in rounds, no ``binned_mean_r2``. If the backbone
    is costly by the row, each of these figures is measured on 4096 rows, drawn at random, on the device of the fit.

    From states, a weight has a row for each state that it is in, and rows are held out one by one. Most weights of held
    out rows therefore have other rows in the fit, and ``held_out_r2`` of a backbone that can tell single weights apart
    is a little high: that of ``trees`` by 0.01 to 0.02 of 0.41 in two runs of lenet-300-100 on digits. Judge such a
    scorer by the networks that it prunes.

    :param backbone: a name in :data:`autosparse.autos.backbones.BACKBONES`.
    :param inputs: ``param``, ``grad``, or both (the ablation of AutoSparse Table 2 and Appendix D.1); or features, see
        ``autosparse list features``, the sets ``context`` and ``prospect``, and names of criteria.
    :param epochs, batch_size, lr: of backbones that are trained by gradient; others refuse all but the defaults.
    :param rows: fit on this many of the train rows, drawn by layer and survival count; the rows held out stay the same.
        From states the fit takes about this many rows in all and holds out a tenth of them. None: all, or about 20
        million of those from states.
    :param on_epoch: called after each epoch of a backbone that is trained by gradient.
    :param resume: a state of this very fit to continue from; the scorer is the same, to the bit.
    :param rounds: rounds in which the scorer prunes; None: 10, or one shot with the paper's inputs.
    :param steps: training steps in each round; None: 10 if an input is measured after training, else none.
    :param step_lr, step_batch_size: of these steps: SGD with momentum 0.9.
    :param examples: examples on which it takes gradients and activations in a round; None: all that it is given.
    :param datasets: those of the IRP runs by name, for a scorer that prunes in rounds.
    :param dagger: adds rows from networks that the scorer has pruned itself, and fits it again; None: no.
    :param execution: of the trainings that ``dagger`` needs.
    :param rows_in: a folder for the rows of all weights in all states, as Parquet; written if missing
        (:func:`autosparse.autos.streamed.write_rows`), then streamed, so that they need not fit in memory. A hash of
        seed, run, state, layer and position decides which rows are held out. Backbones that learn in memory, such as
        ``trees``, take a stratified sample of ``rows``, or of 20 million; their ``train_r2`` is measured on all kinds
        of train rows, sampled or not.
    :param mapped: runs the work on each of these files; by default, one after the other in this process.
    :raises AutosparseError: if survival datasets hold gradients of both modes, or a network of an IRP run cannot be
        rebuilt.
    :raises NonFiniteLoss: if the fit diverges.
    """
    survivals = [survivals] if isinstance(survivals, Survival) else list(survivals)
    if not survivals:
        raise AutosparseError("no survival dataset to fit on")
    inputs = check_inputs(inputs)
    modes = sorted({survival.gradient_mode for survival in survivals})
    if len(modes) > 1 and inputs != ("param",):
        raise AutosparseError(
            "the survival datasets hold gradients of both modes, train and eval, which are different features: "
            "fit on those of one gradient_mode, or on inputs=('param',)"
        )
    training = Training(epochs, batch_size, lr)
    check_training(backbone, training, len(inputs))
    how, datasets = rounds_for(inputs, rounds, steps, examples, step_lr, step_batch_size), datasets or {}
    if dagger and how is None:
        raise AutosparseError("dagger is for a scorer that prunes in rounds: give rounds, or other inputs")
    fingerprints = [survival.fingerprint for survival in survivals]
    provenance = {
        "seed": seed,
        "gradient_mode": modes[0],
        "survival": [survival.provenance for survival in survivals],
        "survival_fingerprints": fingerprints,
        "code_version": __version__,
    }
    learn = Learn(backbone, inputs, training, how, rows, seed, device, provenance)
    if rows_in is not None:
        require_streamable(backbone, how is not None, rows, dagger is not None)
        assert how is not None
        shards = write_rows(survivals, datasets, inputs, how, rows_in, device, fingerprints)
        stream = RowStream(shards, inputs, seed, HELD_OUT, rows or MOST_ROWS, device, mapped)
        scorer = learn.streamed(stream, on_epoch, resume)
        densities = densities_in_rounds(scorer, survivals[0], datasets, stream.device)
        scorer.report = report_of(scorer.report, densities)
        return scorer
    if how is None:
        data = joined([at_initialisation(survival, inputs) for survival in survivals])
    else:
        most = (MOST_ROWS if rows is None else rows) // len(survivals) + FEWEST
        if rows is None:
            _tell_of_sample(survivals, most)
        data = joined([in_states(survival, datasets, inputs, how, most, device) for survival in survivals])
    added: dict[str, Any] = {}
    if dagger:
        per_pass, images, before = rows or min(len(data), MOST_ROWS), 0, len(data)
        for number in range(1, dagger.passes + 1):
            scorer, _ = learn(data)
            met, seen = rows_met(scorer, survivals, datasets, dagger, number, per_pass, device, execution)
            data, images = joined([data, met]), images + seen
        added = {"dagger": {**asdict(dagger), "rows": len(data) - before, "images": images}}
    scorer, split = learn(data, on_epoch, resume)
    if how is None:
        per_layer = ASKED_OF_COSTLY // len(survivals[0].param) if scorer.network.costly else 10_000
        densities = sampled_densities(scorer, survivals[0], per_layer=per_layer, device=split.target.device)
    else:
        densities = densities_in_rounds(scorer, survivals[0], datasets, split.target.device)
    scorer.report = {**_report(scorer, split, densities), **added}
    return scorer


def require_streamable(backbone: str, in_rounds: bool, rows: int | None, dagger: bool) -> None:
    """Raise if a fit cannot stream its rows from a folder.

    :param in_rounds: whether the scorer prunes in rounds, so that it learns from states.
    :param rows: how many rows were asked for.
    :param dagger: whether rows from networks that the scorer prunes are to be added.
    """
    if not in_rounds:
        raise AutosparseError(
            "--rows-in (rows_in) is for a scorer that prunes in rounds: give inputs such as context, or rounds"
        )
    if dagger:
        raise AutosparseError(
            "dagger adds rows to those in memory, and --rows-in (rows_in) has none there: leave one of the two out"
        )
    if rows is not None and BACKBONES[backbone].streams():
        raise AutosparseError(
            f"backbone {backbone!r} learns from every row of --rows-in (rows_in): leave one of rows and rows_in out"
        )


def _report(scorer: Scorer, split: Split, densities: dict[str, float]) -> dict[str, Any]:
    train_r2 = split.r_squared(scorer, split.used[: len(split.asked)])
    held_out_r2 = split.r_squared(scorer, split.asked)
    figures = {"rows_used": len(split.used), "train_r2": train_r2, "held_out_r2": held_out_r2}
    if scorer.in_rounds is not None:
        return report_of(figures, densities)
    binned = binned_mean_r_squared(split.on_cpu(split.train), split.on_cpu(split.asked))
    return report_of(figures, densities, binned_mean_r2=binned)


def _tell_of_sample(survivals: Sequence[Survival], most: int) -> None:
    """Warn if the limit ``most`` leaves out rows of an IRP run; see :func:`in_states`."""
    total, taken = 0, 0.0
    for survival in survivals:
        kept = [survival.masks(i).kept for i in states_of(survival)]
        total += sum(kept)
        taken += sum(min(count, most / len(states_of(survival))) for count in kept)
    if taken < total:
        logging.getLogger(__name__).warning(
            "the fit samples about %d of %d rows from IRP states at random: --rows-in FOLDER (rows_in in Python) "
            "streams them all",
            round(taken),
            total,
        )
