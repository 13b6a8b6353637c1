"""Sizes and settings."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.config import UNLIMITED, StreamSettings, format_size, parse_size
from streamer.errors import SettingError, SizeError


@pytest.mark.parametrize(
    ("text", "nbytes"),
    [
        ("1", 1),
        ("512b", 512),
        ("6GB", 6_000_000_000),
        ("6g", 6_000_000_000),
        ("5.5GiB", 5_905_580_032),
        (" 800 mb\n", 800_000_000),
        (".5k", 500),
        ("2.KiB", 2048),
        ("1.1gb", 1_100_000_000),
        ("0.1GB", 100_000_000),
        ("1.5B", 1),
        ("4194304 TiB", UNLIMITED),
        ("unlimited", UNLIMITED),
        (" MAX ", UNLIMITED),
    ],
)
def test_a_size_is_read_exactly(text, nbytes):
    assert parse_size(text) == nbytes


NO_SIZES = [
    *(
        "",
        " ",
        "GB",
        "six",
        "nan",
        "inf",
        "-1GB",
        "+1GB",
        "1e9",
        "0x10",
        "1_0",
        "1,5GB",
        "1 000",
        "6 G B",
        "6GBs",
        "6PB",
    ),
    *("\u0661GB", "6GB\0", "6\x1b[2JGB"),  # a digit of another script; control characters
    *("0", "0.4", "0GB", "4194305TiB", "9" * 60 + "TB", "9" * 100),
]


@pytest.mark.parametrize("text", NO_SIZES)
def test_what_is_no_size_is_refused_with_an_example_of_one(text):
    with pytest.raises(SizeError) as caught:
        parse_size(text)
    assert caught.value.text == text[:64]
    assert repr(text[:64]) in str(caught.value)
    assert "4GB" in str(caught.value)


@given(st.text(max_size=80) | st.from_regex(r"\s*[0-9.]{1,30} ?[kmgtKMGT]?i?[bB]?\s*", fullmatch=True))
def test_any_other_text_is_refused_or_a_size_in_range(text):
    try:
        nbytes = parse_size(text)
    except SizeError:
        return
    assert 1 <= nbytes <= UNLIMITED


@given(st.integers(1, UNLIMITED))
def test_a_number_of_bytes_is_itself(nbytes):
    assert parse_size(str(nbytes)) == parse_size(f"{nbytes} B") == nbytes


@pytest.mark.parametrize(
    ("nbytes", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 KB"),
        (999_400, "999 KB"),
        (999_900, "1 MB"),
        (5_135_000_000, "5.13 GB"),
        (999_600_000_000, "1 TB"),
        (999_600_000_000_000, "unlimited"),
        (UNLIMITED, "unlimited"),
    ],
)
def test_a_size_is_shown_with_three_digits(nbytes, text):
    assert format_size(nbytes) == text


@given(st.integers(1, 999_000_000_000_000))
def test_what_is_shown_reads_as_nearly_the_same_size(nbytes):
    assert parse_size(format_size(nbytes)) == pytest.approx(nbytes, rel=0.006)


@pytest.mark.parametrize(
    ("wrong", "fact"),
    [
        ({"vram_budget_nbytes": 0}, "0 bytes"),
        ({"vram_budget_nbytes": -5}, "-5 bytes"),
        ({"ram_budget_nbytes": -1}, "-1 bytes"),
        ({"workers": -1}, "-1 decode threads"),
        ({"workers": 65}, "65 decode threads"),
        ({"device_decode": True, "staged": False}, "needs staging"),
    ],
)
def test_a_setting_out_of_range_is_refused(wrong, fact):
    with pytest.raises(SettingError, match=fact):
        StreamSettings(**wrong)


def test_settings_at_the_ends_of_their_ranges_are_accepted_and_stay():
    settings = StreamSettings(vram_budget_nbytes=1, ram_budget_nbytes=0, workers=64)
    assert StreamSettings(workers=0).vram_budget_nbytes == UNLIMITED
    with pytest.raises(FrozenInstanceError):
        settings.workers = 2  # type: ignore[misc]


@pytest.mark.parametrize(
    ("device_decode", "staged", "on_cpu", "on_cuda"),
    [
        (None, None, (False, False), (True, True)),
        (None, True, (False, True), (True, True)),
        (None, False, (False, False), (False, False)),
        (True, None, (True, True), (True, True)),
        (False, None, (False, False), (False, True)),
        (False, False, (False, False), (False, False)),
    ],
)
def test_decoding_on_the_device_and_staging_follow_the_device_unless_they_are_set(
    device_decode, staged, on_cpu, on_cuda
):
    settings = StreamSettings(device_decode=device_decode, staged=staged)
    found = [(settings.decodes_on(device), settings.stages_for(device)) for device in ("cpu", "cuda")]
    assert found == [on_cpu, on_cuda]


def test_zero_is_a_size_where_it_may_be():
    assert [parse_size(text, least=0) for text in ("0", "0MB", " 0.0 gib ")] == [0, 0, 0]
    with pytest.raises(SizeError, match="less than 100 bytes"):
        parse_size("99", least=100)
