"""Files of at most a size, no tensor lost, order kept."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from streamer.convert.shards import index_path, is_shard, shard_path, share_out


@given(st.lists(st.integers(0, 100), min_size=1), st.integers(1, 150))
def test_in_order_within_the_size_and_none_that_fits_into_its_neighbour(sizes, most):
    given_ = {str(i): nbytes for i, nbytes in enumerate(sizes)}
    shards = share_out(given_, most)
    assert [key for shard in shards for key in shard] == list(given_)
    for shard in shards:
        assert len(shard) == 1 or sum(given_[key] for key in shard) <= most
    for shard, following in pairwise(shards):
        assert sum(given_[key] for key in shard) + given_[following[0]] > most


def test_names_are_those_of_the_hub():
    path = Path("a/model.safetensors")
    assert shard_path(path, 1, 1) == path
    assert shard_path(path, 2, 12) == Path("a/model-00002-of-00012.safetensors")
    assert index_path(path) == Path("a/model.safetensors.index.json")


@given(st.integers(1, 200_000), st.integers(2, 200_000), st.text(alphabet="a.-[*+", min_size=1, max_size=5))
def test_names_of_shards_are_known_again(number, count, stem):
    path = Path("f") / f"m{stem}.safetensors"
    assert is_shard(path, shard_path(path, number, count))
    assert not is_shard(path, path)
    assert not is_shard(path, shard_path(Path("g") / path.name, number, count))
    assert not is_shard(path, shard_path(path.with_name(f"x{path.name}"), number, count))
