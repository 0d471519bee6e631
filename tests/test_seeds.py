import hashlib
import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from autosparse.seeds import STEP, derive_seed, drawing_from, generator, rand, splitmix64


@given(st.lists(st.one_of(st.integers(), st.text()), max_size=4))
def test_seed_is_the_first_32_bits_of_the_sha256_of_its_parts(parts):
    digest = hashlib.sha256(json.dumps([str(part) for part in parts]).encode()).digest()
    assert derive_seed(*parts) == int.from_bytes(digest[:4], "little") < 2**32


def test_where_one_part_ends_and_the_next_begins_matters():
    assert derive_seed("a/b") != derive_seed("a", "b")


@pytest.mark.parametrize(("parts", "seed"), [((0, "order", 1), 1146554628), ((7, "irp", 2), 2966279809)])
def test_seeds_never_change_between_versions(parts, seed):
    assert derive_seed(*parts) == seed


@pytest.mark.parametrize(
    ("seed", "published"),
    [
        (0, [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]),
        (1_234_567, [6457827717110365317, 3203168211198807973, 9817491932198370423]),
    ],
)
def test_splitmix64_gives_the_numbers_that_others_publish(seed, published):
    states = np.uint64(seed) + np.arange(1, 4, dtype=np.uint64) * STEP
    assert splitmix64(states).tolist() == published


def test_each_part_matters():
    seeds = {derive_seed(*parts) for parts in [(0, "order", 1), (1, "order", 1), (0, "score", 1), (0, "order", 2)]}
    assert len(seeds) == 4


def test_same_parts_give_the_same_draws():
    assert torch.equal(torch.rand(5, generator=generator(3, "x")), torch.rand(5, generator=generator(3, "x")))


def test_other_parts_give_other_draws():
    assert not torch.equal(torch.rand(5, generator=generator(3, "x")), torch.rand(5, generator=generator(3, "y")))


def test_generator_leaves_the_global_one_alone():
    before = torch.get_rng_state()
    torch.rand(5, generator=generator(3, "x"))
    assert torch.equal(torch.get_rng_state(), before)


def test_layers_draw_from_the_seed_within_the_block_and_torchs_own_generator_is_kept():
    torch.manual_seed(5)
    expected, before = torch.rand(3), torch.manual_seed(5).get_state()
    torch.manual_seed(6)
    kept = torch.get_rng_state()
    with drawing_from(5, torch.device("cpu")):
        assert torch.equal(torch.get_rng_state(), before)
        assert torch.equal(torch.rand(3), expected)
    assert torch.equal(torch.get_rng_state(), kept)


def test_one_generator_fills_the_whole_shape():
    drawn = rand(3, 4, draws=generator("a"))
    assert torch.equal(drawn, torch.rand(3, 4, generator=generator("a")))


def test_several_generators_share_the_last_axis_in_equal_parts():
    drawn = rand(2, 3, 6, draws=[generator("a"), generator("b"), generator("c")])
    parts = [torch.rand(2, 3, 2, generator=generator(own)) for own in "abc"]
    assert drawn.shape == (2, 3, 6)
    for position, part in enumerate(parts):
        assert torch.equal(drawn[..., 2 * position : 2 * position + 2], part)
