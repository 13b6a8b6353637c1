"""The shape of the tree: small files, honest names, tests beside what they test, and no traces of where it was made."""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted(path for package in ("lzr2", "streamer") for path in (ROOT / package).rglob("*.py"))
ALL_PYTHON = [
    *SOURCES,
    *sorted(path for folder in ("tests", "tools", "benchmarks", "examples") for path in (ROOT / folder).rglob("*.py")),
]


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", ALL_PYTHON, ids=relative)
def test_no_file_is_over_400_lines(path):
    assert len(path.read_text("utf-8").splitlines()) <= 400


def test_no_module_has_a_name_that_says_nothing():
    names = {path.stem for path in ALL_PYTHON}
    assert not names & {"utils", "util", "helpers", "helper", "manager", "managers", "misc", "common"}


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_every_module_and_public_thing_says_what_it_guarantees(path):
    tree = ast.parse(path.read_text("utf-8"))
    undocumented = [] if ast.get_docstring(tree) else ["the module"]
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
            inside = node.body if isinstance(node, ast.ClassDef) else []
            methods = [each for each in inside if isinstance(each, ast.FunctionDef) and not each.name.startswith("_")]
            undocumented += [each.name for each in (node, *methods) if not ast.get_docstring(each)]
    assert undocumented == []


def test_every_module_has_tests_of_its_own():
    tested = {path.relative_to(ROOT / "tests").as_posix() for path in (ROOT / "tests").rglob("test_*.py")}
    missing = []
    for path in SOURCES:
        inside = path.relative_to(ROOT)
        if path.name == "__init__.py":
            continue
        expected = inside.with_name(f"test_{path.name}").as_posix()
        if expected not in tested:
            missing.append(relative(path))
    assert missing == []


def test_nothing_unsafe_is_imported_or_called():
    banned = {"pickle", "marshal", "shelve", "dill", "cloudpickle"}
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                assert not banned & {alias.name.split(".")[0] for alias in node.names}, path
            elif isinstance(node, ast.ImportFrom):
                assert (node.module or "").split(".")[0] not in banned, path
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in {"eval", "exec", "compile"}, path


def test_private_names_of_libraries_are_in_one_file_for_each():
    known = {f"streamer/runtime/{library}.py" for library in ADAPTERS}
    private = names_private_to_libraries()
    assert {"_parameters", "_apply", "_hf_hook"} <= private
    for path in SOURCES:
        if relative(path) not in known:
            assert private_names_used(ast.parse(path.read_text("utf-8")), private) == [], path
    assert known <= set(map(relative, SOURCES))


ADAPTERS = ("torch_names", "peft_layers", "diffusers_names", "accelerate_names", "transformers_names")
LIBRARIES = {"torch", "diffusers", "transformers", "peft", "accelerate", "huggingface_hub"}


def names_private_to_libraries() -> set[str]:
    """Of attributes with one underscore that models, tensors, pipelines and adapters have."""
    import torch
    from diffusers import StableDiffusionXLPipeline, UNet2DConditionModel
    from peft.tuners.lora import LoraLayer, LoraModel
    from transformers import CLIPTextModel

    things = [torch.nn.Module(), torch.Tensor, torch.UntypedStorage, torch.nn.Parameter]
    things += [StableDiffusionXLPipeline, UNet2DConditionModel, CLIPTextModel, LoraLayer, LoraModel]
    names = {name for thing in things for name in dir(thing)} | {"_hf_hook", "_diffusers_hook", "_old_forward"}
    return {name for name in names if is_private(name)}


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def private_names_used(tree: ast.AST, private: set[str]) -> list[str]:
    """Imports of private modules or names, and private attributes of anything but the object itself."""
    used: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in LIBRARIES:
            parts = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
            used += [part for part in parts if is_private(part)]
        elif isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
            used += [part for name in names if name[0] in LIBRARIES for part in name if is_private(part)]
        elif isinstance(node, ast.Attribute) and node.attr in private:
            if not (isinstance(node.value, ast.Name) and node.value.id in {"self", "cls"}):
                used.append(node.attr)
        elif isinstance(node, ast.Constant) and node.value in private:
            used.append(str(node.value))
    return used


def test_private_names_are_seen_however_they_are_used():
    for line in (
        "from torch.utils._pytree import tree_map",
        "from diffusers.loaders.unet_loader_utils import _maybe_expand_lora_scales",
        "import torch._dynamo",
        "module._parameters['weight']",
        "getattr(module, '_parameters')",
    ):
        assert private_names_used(ast.parse(line), {"_parameters"}), line
    assert private_names_used(ast.parse("self._parameters = module.parameters()"), {"_parameters"}) == []


def test_the_project_needs_nothing_beside_itself():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    names = listed.stdout.splitlines() if listed.returncode == 0 else [relative(path) for path in ALL_PYTHON]
    beside = "/".join(["..", "shared"])
    for name in names:
        path = ROOT / name
        if path.suffix in {".py", ".md", ".toml", ".txt", ".json"} and path.stat().st_size < 1_000_000:
            assert beside not in path.read_text("utf-8"), name
