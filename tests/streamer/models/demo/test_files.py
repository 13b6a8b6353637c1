"""The demo is complete within the package."""

from __future__ import annotations

import json

from streamer.models.demo import demo_concepts, demo_directory


def test_every_part_that_the_pipeline_names_is_there():
    index = json.loads((demo_directory() / "model_index.json").read_text())
    parts = [name for name, value in index.items() if isinstance(value, list) and value[0] is not None]
    assert len(parts) == 7
    for part in parts:
        assert (demo_directory() / part).is_dir()


def test_there_are_148_different_concepts():
    concepts = demo_concepts()
    assert len(set(concepts)) == len(concepts) == 148
    assert all(concept == concept.strip() and concept for concept in concepts)
