"""The list of runtimes: complete, each with a builder, names unique."""

from __future__ import annotations

import json

from benchmarks.compare.runtimes import GAUSSIAN, LATTICE, all_runtimes


def test_names_are_unique():
    names = [runtime.name for runtime in all_runtimes(["1GB", "1GB/6GB", "2GB"])]
    assert len(set(names)) == len(names)


def test_each_has_a_builder_and_options_that_are_json():
    from benchmarks.compare.builders import BUILDERS

    runtimes = all_runtimes(["1GB"])
    assert {runtime.builder for runtime in runtimes} == set(BUILDERS)
    for runtime in runtimes:
        assert json.loads(json.dumps(runtime.options)) == runtime.options


def test_group_offload_is_there_by_block_and_leaf_with_and_without_stream_and_disk():
    found = {
        (each.options["level"], each.options["stream"], each.options["disk"])
        for each in all_runtimes([])
        if each.builder == "group_offload"
    }
    levels, either = ("block_level", "leaf_level"), (False, True)
    assert found == {(level, stream, disk) for level in levels for stream in either for disk in either}


def test_each_budget_has_both_kinds_of_lzr2_and_safetensors():
    every = [each for each in all_runtimes(["1GB", "2GB/6GB"]) if each.kind == "this project"]
    ours = [each for each in every if not each.first_start and not each.disk_copies]
    kinds = {(LATTICE, ".lzr2"), (GAUSSIAN, ".lzr2"), (LATTICE, ".safetensors")}
    for budget in ({"vram_budget": "1GB", "ram_budget": None}, {"vram_budget": "2GB", "ram_budget": "6GB"}):
        assert {(each.weights, each.container) for each in ours if each.options == budget} == kinds
    assert len(ours) == 6


def test_one_of_them_is_also_started_as_on_a_new_machine():
    (first,) = [each for each in all_runtimes(["1GB", "2GB"]) if each.first_start]
    assert first.name == "this project, LZR2 lattice-heavy, 1GB, first start"
    assert not any(each.first_start for each in all_runtimes([]))


def test_one_of_them_decodes_to_disk_what_memory_is_not_to_hold():
    (spilled,) = [each for each in all_runtimes(["1GB/6GB", "2GB"]) if each.options.get("spill")]
    assert spilled.name == "this project, LZR2 overlay-heavy, 1GB, host 6GB, decoded to disk"
    assert (spilled.weights, spilled.options["ram_budget"], spilled.disk_copies) == (GAUSSIAN, "0", 1)


def test_one_is_resident_and_each_set_of_weights_has_a_reference():
    runtimes = all_runtimes(["1GB"])
    assert [each.weights for each in runtimes if each.kind == "resident"] == [LATTICE]
    assert [each.weights for each in runtimes if each.kind == "reference"] == [GAUSSIAN]
