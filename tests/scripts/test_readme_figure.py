"""The README's figure shows what the table of measured results says today."""

import re
import xml.etree.ElementTree as ET
from html import unescape
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
PAGE = """
## Learned scorers that prune in rounds
Seeds: seeds 0-4.

| method | 95 % | 99 % | images |
|---|---|---|---|
| snip | **90.50 ± 1.00** | 80.25 ± 0.00 | 5,120 |

| difference, paired by seed | 95 % | 99 % |
|---|---|---|
| a − b | +0.34 ± 0.08 * | +1.01 ± 0.24 * |

## Another section

| method | 95 % | 99 % | images |
|---|---|---|---|
| grasp | 1.00 ± 1.00 | 2.00 ± 1.00 | 0 |
"""


@pytest.fixture
def figure(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import readme_figure

    return readme_figure


def test_it_reads_the_accuracies_of_its_section_alone(figure):
    (method, points), *others = figure.measured(PAGE).items()
    assert (method, others) == ("snip", [])
    assert [(sparsity, mean) for sparsity, mean, _ in points] == [(0.95, 90.5), (0.99, 80.25)]
    # 2.776445: the 97.5 % quantile of Student's t with 4 degrees of freedom, from tables
    assert [half for *_, half in points] == pytest.approx([2.776445 / 5**0.5, 0])


def test_a_page_without_the_section_is_refused(figure):
    with pytest.raises(SystemExit, match="no section"):
        figure.measured("# Nothing")


def test_the_committed_figure_says_what_the_table_says(figure):
    told = unescape(re.search(r"<desc>(.*?)</desc>", figure.FIGURE.read_text())[1])
    again = "run scripts/readme_figure.py again"
    assert told == figure.described(figure.measured(figure.TABLES.read_text())), again


def test_the_file_is_a_drawing_with_every_method_by_name(figure, monkeypatch):
    monkeypatch.setattr(figure, "PANELS", {"left": ("autos-a",), "right": ("b",)})
    points = {name: [(0.9, 95.0, 0.1), (0.99, 90.0, 0.3)] for name in ("autos-a", "b")}
    drawn = ET.fromstring(figure.as_svg(points))
    texts = {text.text for text in drawn.iter("{http://www.w3.org/2000/svg}text")}
    assert texts >= {"autos-a", "b", "left", "right"}
    assert "autos-a: 95.00 ± 0.10 at 90 %, 90.00 ± 0.30 at 99 %; b: " in drawn[0].text
