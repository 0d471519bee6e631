"""A name for what scores: two scorers, or surfaces of scorers, with one name give the same scores."""

import hashlib
from dataclasses import asdict

from safetensors.torch import save

from autosparse.autos.scorer import Scorer
from autosparse.autos.table import Table
from autosparse.files import canonical_json


def judge_id(judge: Scorer | Table) -> str:
    """64 hex digits that name all that the scores of a scorer, or of its surface, depend on besides the features."""
    if isinstance(judge, Scorer):
        about = [judge.backbone, list(judge.inputs), asdict(judge.standardisation)]
        tensors = judge.network.state_dict()
    else:
        about, tensors = ["surface"], {"values": judge.values}
        tensors |= {f"nodes {axis}": nodes for axis, nodes in enumerate(judge.nodes)}
    digest = hashlib.sha256(canonical_json(about).encode())
    digest.update(save({name: value.detach().cpu().contiguous() for name, value in tensors.items()}))
    return digest.hexdigest()
