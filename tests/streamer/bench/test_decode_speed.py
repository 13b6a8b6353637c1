"""Records are verified before they are timed, and every rate is of what was decoded."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lzr2
from streamer.bench import decode_speed
from streamer.bench.decode_speed import (
    EXPAND,
    FORMS,
    INFLATE,
    DecodeMismatchError,
    sampled,
    thread_counts,
)
from streamer.bench.decode_speed import decode_speed as measure
from streamer.errors import SettingError


@pytest.fixture
def file(demo_lzr2):
    with lzr2.open(demo_lzr2) as opened:
        yield opened


def test_every_form_is_timed_on_every_number_of_threads(file):
    told: list[str] = []
    found = measure(file, 1 << 20, (1, 2), 2, told.append)
    assert [(one.form, one.threads, len(one.seconds)) for one in found.speeds] == [
        (form, n, 2) for form in FORMS for n in (1, 2)
    ]
    assert found.weights == sum(file.record(key).n_weights for key in found.keys)
    assert found.stored_nbytes == sum(file.record(key).record_nbytes for key in found.keys)
    assert found.inflated_nbytes == sum(file.read_inflated(key).nbytes for key in found.keys)
    assert found.records == len(file)
    first = found.speeds[0]
    assert found.output_rate(first) == pytest.approx(2 * found.weights / first.typical)
    assert found.against_plain(first) == pytest.approx(found.plain_seconds / first.typical)
    assert found.scaling(first) == 1.0
    assert len(told) == 3


def test_plain_numpy_takes_its_turn_in_each_of_the_first_rounds(file, monkeypatch):
    done: list[object] = []
    real = decode_speed._timed

    def spied(pool, work, jobs, outs):
        done.append(len(outs))
        return real(pool, work, jobs, outs) + len(done)

    monkeypatch.setattr(decode_speed, "_timed", spied)
    monkeypatch.setattr(decode_speed, "_PLAIN_ROUNDS", 2)
    found = measure(file, 1 << 18, (1,), 3, print)
    turns = len(FORMS) + 1
    assert len(done) == 3 * turns - 1
    assert [round(seconds) // turns for seconds in found.plain] == [1, 2]
    assert min(found.plain) <= found.plain_seconds <= max(found.plain)


@pytest.mark.parametrize("form", [form for form in FORMS if form != INFLATE])
def test_one_wrong_bit_in_any_form_is_noticed(file, monkeypatch, form):
    wanted = {decode_speed.TO_FLOAT16: np.float16, decode_speed.TO_FLOAT32: np.float32}.get(form)

    def spoilt(decode):
        def wrong(what, out, *more, **named):
            decode(what, out, *more, **named)
            if wanted in (None, out.dtype.type):
                out.reshape(-1).view(np.uint8)[0] ^= 1

        return wrong

    if form == EXPAND:
        monkeypatch.setattr(lzr2, "decode_inflated_into", spoilt(lzr2.decode_inflated_into))
    else:
        monkeypatch.setattr(file, "decode_into", spoilt(file.decode_into))
    with pytest.raises(DecodeMismatchError) as caught:
        measure(file, 1 << 18, (1,), 1, print)
    assert caught.value.form == form
    assert caught.value.key in file


@given(st.integers(1, 200_000_000))
def test_a_sample_keeps_to_its_size_or_is_one_record(demo_lzr2, most):
    with lzr2.open(demo_lzr2) as file:
        keys = sampled(file, most)
        assert len(set(keys)) == len(keys) >= 1
        sizes = [max(2 * file.record(key).n_weights, file.record(key).record_nbytes) for key in keys]
        assert len(keys) == 1 or sum(sizes) <= most
        if most > 100_000_000:
            assert len(keys) == len([key for key in file if file.record(key).n_weights])


def test_a_file_without_weights_has_nothing_to_decode(tmp_path):
    lzr2.save_file({"none": np.zeros((0, 4), np.float16)}, tmp_path / "none.lzr2")
    with lzr2.open(tmp_path / "none.lzr2") as file, pytest.raises(SettingError, match="nothing to decode"):
        sampled(file, 1000)


@given(st.integers(1, 64))
def test_numbers_of_threads_rise_from_one_to_the_most(most):
    counts = thread_counts(most)
    assert (counts[0], counts[-1]) == (1, most)
    assert list(counts) == sorted(set(counts))
    assert len(counts) <= 9
