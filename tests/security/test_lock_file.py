"""What ``make setup`` and the image install is what was locked, to the byte."""

import re
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
LOCK = (REPOSITORY / "requirements.lock").read_text()
PINS = re.split(r"(?m)^(?=\S)", LOCK)[1:]


def test_every_pin_has_its_hashes_and_nothing_else():
    assert len(PINS) > 150
    for pin in PINS:
        name, *hashes = pin.replace(" \\\n", "\n").rstrip().split("\n")
        assert re.fullmatch(r"[\w.-]+==[\w.+!-]+( ; .+)?", name), name
        assert hashes, name
        assert all(re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}", line) for line in hashes), name


def test_it_names_no_host():
    assert "://" not in LOCK
    assert not re.search(r"(?m)^--?\w", LOCK)


def test_who_installs_it_asks_for_the_hashes():
    makefile, image = ((REPOSITORY / path).read_text() for path in ("Makefile", "cluster/docker/Dockerfile"))
    (sync,) = re.findall(r"uv pip sync .*", makefile)
    (installed,) = re.findall(r"uv pip install (?:.*\\\n)*.*requirements\.lock", image)
    assert "--require-hashes" in sync
    assert "--require-hashes" in installed
    (compiled,) = re.findall(r"uv pip compile (?:.*\\\n)*.*requirements\.lock", makefile)
    assert "--generate-hashes" in compiled
