"""Masks: which weights are kept. Exact selection, application, densities, files."""

import json
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_safetensors
from torch import Tensor, nn

from autosparse.errors import AutosparseError, CorruptFile
from autosparse.files import write_atomic
from autosparse.notebook import shown
from autosparse.seeds import generator
from autosparse.weights import LeftOut, left_out, prunable

__all__ = ["Masks", "Scores", "keep_count", "prunable", "top_k"]

INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
"""A type of integers by its size in bytes."""

Scores = dict[str, Tensor]
"""Weight name -> tensor of the weight's shape; the highest scores are kept."""


def keep_count(total: int, sparsity: float) -> int:
    """How many of ``total`` weights stay at ``sparsity``: ``total - round(total * sparsity)``."""
    if not 0 <= sparsity < 1:
        raise AutosparseError(f"sparsity must be in [0, 1), the share of weights removed; got {sparsity}")
    return total - round(total * sparsity)


def top_k(values: Tensor, k: int) -> Tensor:
    """Select exactly the ``k`` largest entries of a 1-D tensor; among equals, the first positions.

    Returns a bool tensor of the same shape. Linear time (no sort).
    """
    if k <= 0:
        return torch.zeros_like(values, dtype=torch.bool)
    if k >= values.numel():
        return torch.ones_like(values, dtype=torch.bool)
    threshold = values.kthvalue(values.numel() - k + 1).values
    selected = values > threshold
    ties = (values == threshold).nonzero().squeeze(1)
    selected[ties[: k - int(selected.sum())]] = True
    return selected


class Masks(Mapping[str, Tensor]):
    """One bool tensor per prunable weight, True where the weight is kept.

    Example:

    >>> model = asp.build_model("lenet-300-100", num_classes=10, input_shape=(1, 8, 8))
    >>> masks = asp.Masks.from_scores(asp.score(model, "magnitude"), sparsity=0.9)
    >>> masks.kept, masks.total
    (5020, 50200)
    >>> model = masks.apply_(model)
    >>> sum(int((weight == 0).sum()) for weight in asp.prunable(model).values())
    45180
    """

    def __init__(self, tensors: Mapping[str, Tensor], left_out: LeftOut | None = None):
        self._tensors = {name: mask.to(torch.bool) for name, mask in tensors.items()}
        self.left_out = left_out
        """The parameters that no mask can cover; None if they are not known."""

    def __getitem__(self, name: str) -> Tensor:
        return self._tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Masks) or list(self) != list(other):
            return False
        return all(
            mask.shape == other[name].shape and torch.equal(mask, other[name].to(mask.device))
            for name, mask in self.items()
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        rest = f"; not prunable: {self.left_out}" if self.left_out else ""
        return (
            f"Masks({len(self)} layers, {self.kept} of {self.total} weights kept, sparsity {self.sparsity:.4f}{rest})"
        )

    def _repr_html_(self) -> str:
        rows = [
            (name, tuple(mask.shape), int(mask.sum()), mask.numel(), float(mask.float().mean()))
            for name, mask in self.items()
        ]
        return shown(self, ("layer", "shape", "kept", "weights", "density"), rows)

    @classmethod
    def dense(cls, model: nn.Module) -> "Masks":
        """Masks of ``model`` that keep everything."""
        ones = {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in prunable(model).items()}
        return cls(ones, left_out(model))

    @classmethod
    def from_scores(cls, scores: Scores, sparsity: float, within: "Masks | None" = None) -> "Masks":
        """Keep the globally highest scores: exactly ``n - round(n * sparsity)`` of all n weights.

        Ties are broken by position (the order of ``scores``, then the flat index; the first is kept).
        ``within``: only weights that these masks keep may stay (n still counts every weight).

        Raises :class:`AutosparseError` on empty or NaN scores, on a sparsity outside [0, 1), and
        if ``within`` keeps fewer weights than must stay.
        """
        total = sum(score.numel() for score in scores.values())
        if total == 0:
            raise AutosparseError("no scores to select from: the model has no prunable weights, or the dict is empty")
        _refuse_nan(scores)
        k = keep_count(total, sparsity)
        flat = torch.cat([_rankable(score) for score in scores.values()])
        if within is None:
            selected = top_k(flat, k)
        else:
            unscored = [name for name in within if name not in scores]
            if unscored:
                raise AutosparseError(f"masks do not fit the scores: there is no score for {unscored[0]!r}")
            alive = torch.cat([within._matching(name, score).flatten() for name, score in scores.items()])
            alive = alive.to(flat.device).nonzero().squeeze(1)
            if k > alive.numel():
                raise AutosparseError(
                    f"{k} weights must stay at sparsity {sparsity}, but only {alive.numel()} are left"
                )
            selected = torch.zeros_like(flat, dtype=torch.bool)
            selected[alive[top_k(flat[alive], k)]] = True
        pieces = selected.split([score.numel() for score in scores.values()])
        return cls({name: piece.view_as(score) for (name, score), piece in zip(scores.items(), pieces, strict=True)})

    @classmethod
    def where_scored(cls, scores: Scores) -> "Masks":
        """Keep every weight whose score is above ``-inf``, the mark of weights that a criterion has pruned itself.

        :raises AutosparseError: on NaN, which is neither kept nor pruned.
        """
        _refuse_nan(scores)
        return cls({name: score > -torch.inf for name, score in scores.items()})

    @property
    def total(self) -> int:
        """Number of maskable weights."""
        return sum(mask.numel() for mask in self.values())

    @property
    def kept(self) -> int:
        """Number of weights kept."""
        return sum(int(mask.sum()) for mask in self.values())

    @property
    def density(self) -> float:
        """Share of weights kept."""
        return self.kept / self.total if self.total else 1.0

    @property
    def sparsity(self) -> float:
        """Share of weights removed."""
        return 1.0 - self.density

    def density_by_layer(self) -> dict[str, float]:
        """Weight name -> share of its entries kept."""
        return {name: mask.float().mean().item() for name, mask in self.items()}

    def collapsed_layers(self) -> list[str]:
        """Names of the layers that keep no weight."""
        return [name for name, mask in self.items() if not mask.any()]

    def to(self, device: torch.device | str) -> "Masks":
        """The same masks on another device."""
        return Masks({name: mask.to(device) for name, mask in self.items()}, self.left_out)

    def shuffled(self, seed: int) -> "Masks":
        """The same number of weights per layer, at random places in it (Frankle et al. 2021, arXiv:2009.08576)."""
        shuffled = {}
        for name, mask in self.items():
            order = torch.randperm(mask.numel(), generator=generator(seed, "shuffle", name)).to(mask.device)
            shuffled[name] = mask.flatten()[order].view_as(mask)
        return Masks(shuffled, self.left_out)

    @torch.no_grad()
    def apply_(self, model: nn.Module) -> nn.Module:
        """Set every pruned weight of ``model`` to exactly 0, in place; returns the model.

        Prunable weights that the masks do not name stay whole; a warning says so.
        """
        for weight, pruned in self._pairs(model):
            weight.masked_fill_(pruned, 0.0)
        return model

    def hold(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> torch.utils.hooks.RemovableHandle:
        """Apply now and after each ``optimizer.step()``, so that a pruned weight stays exactly 0.

        Returns a handle; its ``remove()`` ends this.
        """
        pairs = [(weight, _bits(~pruned, weight.dtype)) for weight, pruned in self._pairs(model) if pruned.any()]

        @torch.no_grad()
        def zero_pruned(*_: object) -> None:
            for weight, bits in pairs:
                weight.view(bits.dtype).bitwise_and_(bits)

        zero_pruned()
        return optimizer.register_step_post_hook(zero_pruned)

    def save(self, path: str | Path) -> None:
        """Write a safetensors file (bool tensors), atomically."""
        tensors = {
            name: mask.detach().cpu().clone(memory_format=torch.contiguous_format) for name, mask in self.items()
        }
        metadata = {"autosparse": "masks", "order": json.dumps(list(tensors))}
        if self.left_out is not None:
            metadata["left_out"] = json.dumps([*self.left_out.names, self.left_out.share])
        write_atomic(Path(path), to_safetensors(tensors, metadata=metadata))

    @classmethod
    def load(cls, path: str | Path) -> "Masks":
        """Read what :meth:`save` wrote; raises :class:`CorruptFile` on anything else."""
        try:
            with safe_open(str(path), framework="pt") as file:
                metadata = file.metadata() or {}
                if metadata.get("autosparse") != "masks":
                    raise CorruptFile(f"{path} holds tensors, but no masks of autosparse")
                tensors = {name: file.get_tensor(name) for name in json.loads(metadata["order"])}
                *names, share = json.loads(metadata["left_out"]) if "left_out" in metadata else [None]
        except AutosparseError:
            raise
        except FileNotFoundError as error:
            raise AutosparseError(f"no masks at {path}") from error
        except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
            raise CorruptFile(f"{path} is truncated or not a safetensors file of masks") from error
        return cls(tensors, None if share is None else LeftOut(tuple(map(str, names)), float(share)))

    def _matching(self, name: str, score: Tensor) -> Tensor:
        mask = self._tensors.get(name)
        if mask is None or mask.shape != score.shape:
            shape = "missing" if mask is None else tuple(mask.shape)
            raise AutosparseError(f"masks do not fit the scores: {name!r} is {shape}, the score {tuple(score.shape)}")
        return mask

    def _pairs(self, model: nn.Module) -> list[tuple[nn.Parameter, Tensor]]:
        weights = prunable(model)
        for name, mask in self.items():
            if name not in weights or weights[name].shape != mask.shape:
                found = tuple(weights[name].shape) if name in weights else "missing"
                raise AutosparseError(f"masks do not fit the model: {name!r} is {found}, the mask {tuple(mask.shape)}")
        if unnamed := [name for name in weights if name not in self]:
            warnings.warn(
                f"the masks name {len(self)} of {len(weights)} prunable weights: {unnamed[0]!r} "
                f"{'and others stay' if unnamed[1:] else 'stays'} whole; masks made before attention and ConvTranspose "
                "could be pruned lack these",
                stacklevel=3,
            )
        return [(weights[name], ~mask.to(weights[name].device)) for name, mask in self.items()]


def _bits(kept: Tensor, dtype: torch.dtype) -> Tensor:
    """All bits of a number of ``dtype`` where ``kept``, and none elsewhere, as integers of its size.

    A weight of which only these bits stay is exactly 0 where pruned, whatever it was. On a CPU that is several times as
    fast as ``masked_fill_``.
    """
    return kept.to(INTEGERS[dtype.itemsize]).neg_()


def _refuse_nan(scores: Scores) -> None:
    for name, score in scores.items():
        if score.isnan().any():
            raise AutosparseError(
                f"scores of {name!r} contain NaN: nothing can be ranked; check the loss and the inputs"
            )


def _rankable(score: Tensor) -> Tensor:
    """Flat scores in a dtype that ``kthvalue`` supports; integers beyond 2^53 may tie."""
    flat = score.detach().flatten()
    if flat.dtype in (torch.float32, torch.float64):
        return flat
    return flat.float() if flat.dtype in (torch.float16, torch.bfloat16) else flat.double()
