"""What `run` says of compact training."""

from types import SimpleNamespace

from autosparse.runner.driver.telling import LOOKED_AT, saved_by_compact


class Records:
    """A store whose cells were trained with these FLOPs for each forward pass."""

    criterion = "snip"

    def __init__(self, *flops_trained):
        self.results = {
            str(i): {"flops_dense": 100, "images": 10, **({} if f is None else {"flops_trained": f})}
            for i, f in enumerate(flops_trained)
        }
        self.read = 0

    @property
    def plan(self):
        return SimpleNamespace(
            cells=[SimpleNamespace(task=SimpleNamespace(id=own, criterion=self.criterion)) for own in self.results]
        )

    def there(self, tasks):
        return {task.id for task in tasks}

    def record(self, task):
        self.read += 1
        return {"result": self.results[task.id]}


def test_the_share_of_the_dense_flops_is_told_over_all_cells():
    store = Records(100, 20, 30)
    assert (
        saved_by_compact(store.plan, store) == "compact training computed 50 % of the FLOPs that dense training takes"
    )


def test_trainings_on_the_way_to_the_masks_do_not_count():
    store = Records(20)
    store.criterion = "lth"
    assert saved_by_compact(store.plan, store) is None, "no record tells how many images they took"
    store.results["0"] |= {"images": 110, "images_score": 100}
    assert "20 %" in saved_by_compact(store.plan, store)


def test_cells_of_earlier_versions_do_not_count():
    store = Records(None, 25)
    assert "25 %" in saved_by_compact(store.plan, store)


def test_nothing_is_told_where_nothing_was_saved_by_compact():
    for store in (Records(100, 100), Records(None), Records()):
        assert saved_by_compact(store.plan, store) is None


def test_a_sample_of_a_large_grid_tells():
    store = Records(*[40] * (10 * LOOKED_AT))
    assert "40 %" in saved_by_compact(store.plan, store)
    assert store.read <= LOOKED_AT + 1
