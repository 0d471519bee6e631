"""The core can be imported where neither Ray nor MLflow is installed."""

import subprocess
import sys

PROBE = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"ray", "mlflow", "typer", "pydantic"}:
            raise ImportError(name + " must not be imported by the core")
sys.meta_path.insert(0, Refuse())
import torch
import autosparse as asp
model = asp.build_model("lenet-300-100", num_classes=10, input_shape=(1, 28, 28), seed=0)
batches = [(torch.randn(8, 1, 28, 28), torch.arange(8))]
for name in ("random", "magnitude", "snip", "grasp"):
    masks = asp.Masks.from_scores(asp.score(model, name, batches), sparsity=0.95)
    assert masks.kept == 266200 - round(266200 * 0.95)
data = asp.load_dataset("digits")
small = asp.build_model("lenet-300-100", 10, (1, 8, 8), seed=0)
survival = asp.rewind_prune(small, data, iterations=2, recipe=asp.Recipe(epochs=1))
print(asp.fit_scorer(survival, epochs=1).predict(survival.flat()[0]).shape)
"""


def test_the_core_works_where_ray_mlflow_typer_and_pydantic_are_absent():
    answer = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, timeout=240, check=False)
    assert answer.returncode == 0, answer.stderr
    assert "50200" in answer.stdout
