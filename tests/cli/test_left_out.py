"""What ``run`` says of weights that no mask covers."""

from types import SimpleNamespace

from autosparse.runner.driver.telling import left_out_of

RESULTS = {
    "old": {"test_accuracy": 50.0},
    "plain": {"left_out": {"names": [], "share": 0.0}},
    "gru": {"left_out": {"names": ["rnn.weight_ih_l0", "rnn.weight_hh_l0"], "share": 0.75}},
}


def planned(*pairs):
    return [SimpleNamespace(task=SimpleNamespace(model=model, id=own)) for model, own in pairs]


def test_each_model_is_told_of_once_by_its_first_record():
    asked = []

    def record(task):
        asked.append(task.id)
        return {"result": RESULTS[task.id]} if task.id in RESULTS else None

    store = SimpleNamespace(there=lambda tasks: {*RESULTS, "failed"}, record=record)
    plan = SimpleNamespace(
        irp=planned(("a", "plain")),
        cells=planned(("a", "gru"), ("b", "old"), ("b", "gru"), ("c", "failed"), ("c", "gru"), ("d", "to do")),
    )
    told = left_out_of(plan, store)
    assert {model: str(rest) for model, rest in told.items()} == {
        "c": "rnn.weight_ih_l0, rnn.weight_hh_l0 (75 % of the parameters)"
    }
    assert asked == ["plain", "old", "failed", "gru"]
