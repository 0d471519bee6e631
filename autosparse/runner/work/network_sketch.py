"""A sketch of an initial network, to tell if work that began with it may continue with another."""

from torch import nn

Sketch = dict[str, list[float]]


def sketch_of(model: nn.Module) -> Sketch:
    """Shape, sum and norm of every parameter: a name does not say how the user's own network is initialised.

    A checksum would be too strict: nodes with other processors draw values that differ in their last bits.
    """
    values = {name: value.detach().cpu().double() for name, value in model.named_parameters()}
    return {name: [*value.shape, float(value.sum()), float(value.norm())] for name, value in values.items()}


def alike(some: Sketch, other: Sketch) -> bool:
    """Whether two sketches describe the same network, up to rounding."""
    if some.keys() != other.keys():
        return False
    for name in some:
        (*shape, total, norm), (*other_shape, other_total, other_norm) = some[name], other[name]
        if shape != other_shape or max(abs(total - other_total), abs(norm - other_norm)) > 1e-5 * norm:
            return False
    return True
