"""What the nouns print of themselves: one line that informs, and in notebooks a short table."""

import html.parser

import torch
from builders import unfitted_scorer

import autosparse as asp
from autosparse.autos.backbones import build_backbone
from autosparse.autos.features import Standardisation
from autosparse.notebook import MOST_ROWS, shown


def survival_of_two_layers():
    param = {"fc<1>.weight": torch.zeros(2, 3), "out.weight": torch.zeros(4, 2)}
    survived = {"fc<1>.weight": torch.tensor([[0, 1, 2], [2, 2, 2]]), "out.weight": torch.ones(4, 2)}
    about = {"iterations": 2, "model": "lenet", "dataset": "digits", "criterion": "snip", "seed": 7}
    counts = {name: count.to(torch.int32) for name, count in survived.items()}
    return asp.Survival(param, param, counts, about)


def scorer_with_report():
    report = {"train_r2": 0.7, "held_out_r2": 0.61234, "binned_mean_r2": 0.65, "warnings": ["it <has> not learned"]}
    return unfitted_scorer(report)


def cases(digits):
    masks = asp.Masks({"fc.weight": torch.tensor([[True, False], [False, False]])})
    return {
        f"Dataset('digits': 1,437 train and 360 test images of 1x8x8, 10 classes, fingerprint {digits.fingerprint})": (
            digits,
            "train",
        ),
        "Split(360 images of 1x8x8, on cpu)": (digits.test, "images"),
        "Survival(lenet on digits: 14 weights in 2 layers, 2 iterations by snip, seed 7)": (
            survival_of_two_layers(),
            "0.6667",
        ),
        "Scorer(mlp of param, grad, in one shot: held-out R² 0.612, binned mean's R² 0.650, train R² 0.700, "
        "warnings: 1)": (
            scorer_with_report(),
            "it &lt;has&gt; not learned",
        ),
        "Masks(1 layers, 1 of 4 weights kept, sparsity 0.7500)": (masks, "fc.weight"),
        "History(2 epochs: test accuracy 91.50 %, best 92.25 % in epoch 1, train loss 0.5)": (
            asp.History([1.0, 0.5], [92.25, 91.5]),
            "92.25",
        ),
    }


class Tags(html.parser.HTMLParser):
    """Checks that each tag is closed in turn, and that there are only ours."""

    def __init__(self):
        super().__init__()
        self.open, self.seen = [], set()

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        self.seen.add(tag)
        assert not attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_each_noun_prints_one_line_and_in_notebooks_a_table(digits):
    for line, (noun, cell) in cases(digits).items():
        assert repr(noun) == line
        table = noun._repr_html_()
        assert cell in table
        tags = Tags()
        tags.feed(table)
        assert tags.open == []
        assert tags.seen == {"div", "table", "thead", "tbody", "tr", "th", "td"}


def test_what_has_no_content_yet_says_so():
    assert repr(asp.History()) == "History(no epoch yet)"
    bare = asp.Survival({}, {}, {}, {"iterations": 1})
    assert "a network on unknown data: 0 weights" in repr(bare)
    unfitted = asp.Scorer("mlp", ("param",), Standardisation((0.0,), (1.0,)), build_backbone("mlp", 1, 0))
    assert repr(unfitted) == "Scorer(mlp of param, in one shot: no report)"


def test_a_long_table_is_cut_in_the_middle_and_its_text_escaped():
    table = shown("<b>", ("a", "b"), [(f"row & {i}", i) for i in range(100)])
    assert "<div>&lt;b&gt;</div>" in table
    assert table.count("<tr>") == MOST_ROWS + 1
    assert "row &amp; 0" in table
    assert "row &amp; 99" in table
    assert "... 89 more" in table
    assert "row &amp; 50" not in table
