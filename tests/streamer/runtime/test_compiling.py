"""Compiled streamed modules give what they give uncompiled."""

from __future__ import annotations

import pytest
import torch

from streamer.config import StreamSettings
from streamer.runtime.compiling import uncompiled_itself
from tests.streamer.tower import LAYERS, Tower, stream_tower

X = torch.ones(2, 16)


@pytest.fixture(autouse=True)
def compilers_that_know_nothing():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def test_blocks_are_compiled_without_a_break_and_stay_so_when_detached():
    tower = Tower()
    with torch.no_grad():
        want = tower(X)
    handle, _ = stream_tower(tower, StreamSettings(4096, 0, 1))
    graphs = []

    def backend(graph, _):
        graphs.append(graph)
        return graph.forward

    for layer in tower.layers:
        layer.compile(backend=backend, fullgraph=True)
    assert torch.equal(tower(X), want)
    made = len(graphs)
    for _ in range(2):
        assert torch.equal(tower(X), want)
    assert len(graphs) == made  # weights that come and go aren't another computation
    assert made in (1, LAYERS)  # older versions of torch compile equal layers one by one
    handle.detach()
    with torch.no_grad():
        assert torch.equal(tower(X), want)
    assert "compile" not in tower.layers[0].__dict__


@pytest.mark.parametrize("compiled", [torch.compile, lambda tower, backend: tower.compile(backend=backend) or tower])
def test_a_whole_module_is_compiled_around_the_hooks(compiled):
    tower = Tower(layers=2)
    with torch.no_grad():
        want = tower(X)
    handle, _ = stream_tower(tower, StreamSettings(4096, 0, 1))
    with handle:
        fast = compiled(tower, backend="eager")
        for _ in range(3):
            assert torch.equal(fast(X), want)


def test_a_function_is_passed_over_and_what_it_calls_is_compiled():
    traced = []

    def backend(graph, _):
        traced.append([node.target for node in graph.graph.nodes if node.op == "call_function"])
        return graph.forward

    def outer(x: torch.Tensor) -> torch.Tensor:
        return inner(x) * 2

    def inner(x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(x)

    passed_over = uncompiled_itself(outer)

    @torch.compile(backend=backend)
    def whole(x: torch.Tensor) -> torch.Tensor:
        return passed_over(x)

    assert torch.equal(whole(X), torch.tanh(X) * 2)
    assert traced == [[torch.tanh]]
