"""Whether weights fit a model."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from streamer.errors import WeightsMismatchError
from streamer.sources.fit import Fit, compare, require
from tests.streamer.tower import MemorySource

shapes = st.dictionaries(st.sampled_from("abcdef"), st.sampled_from([(1,), (2,), (1, 2)]))


@given(shapes, shapes)
def test_every_key_is_fitting_missing_unknown_or_of_another_shape(found, expected):
    fit = compare(MemorySource({key: torch.zeros(shape) for key, shape in found.items()}), expected)
    assert set(fit.missing) == expected.keys() - found.keys()
    assert set(fit.unknown) == found.keys() - expected.keys()
    different = {key for key in found.keys() & expected.keys() if found[key] != expected[key]}
    assert set(fit.wrong_shape) == {(key, found[key], expected[key]) for key in different}
    assert fit.exact == (found == expected)


EXACT = Fit((), (), ())
MISSING = Fit(("m",), (), ())
UNKNOWN = Fit((), ("u",), ())
WRONG = Fit((), (), (("w", (1,), (2,)),))


@pytest.mark.parametrize(("fit", "strict"), [(EXACT, True), (EXACT, False), (UNKNOWN, False), (WRONG, False)])
def test_what_may_pass(fit, strict):
    assert require("path", fit, strict=strict, hint="") is None


@pytest.mark.parametrize(("fit", "strict"), [(MISSING, True), (MISSING, False), (UNKNOWN, True), (WRONG, True)])
def test_what_may_not_pass_is_named(fit, strict):
    with pytest.raises(WeightsMismatchError) as caught:
        require("the/path", fit, strict=strict, hint="Do this.")
    error = caught.value
    assert (error.missing, error.unknown, error.wrong_shape) == (fit.missing, fit.unknown, fit.wrong_shape)
    assert "the/path" in str(error)
    assert str(error).endswith("Do this.")
