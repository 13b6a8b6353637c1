"""How two runs of the same tests are compared, and that a U-Net that was put in streams."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.tools.load_tool import load_tool

tool = load_tool("run_diffusers_tests")

REPORT = """<testsuites><testsuite>
<testcase classname="a.B" name="good"/>
<testcase classname="a.B" name="bad"><failure message="AssertionError: no">trace</failure></testcase>
<testcase classname="a.B" name="broken"><error>no message</error></testcase>
<testcase classname="a.B" name="absent"><skipped message="needs a GPU"/></testcase>
</testsuite></testsuites>"""


def test_outcomes_are_read(tmp_path):
    (tmp_path / "report.xml").write_text(REPORT)
    assert tool.outcomes(tmp_path / "report.xml") == {
        "a.B.good": tool.Outcome("passed"),
        "a.B.bad": tool.Outcome("failed", "AssertionError: no"),
        "a.B.broken": tool.Outcome("failed", "no message"),
        "a.B.absent": tool.Outcome("skipped"),
    }


def test_only_what_passes_without_streaming_counts():
    good, bad = tool.Outcome("passed"), tool.Outcome("failed", "AssertionError")
    refusal = tool.Outcome("failed", "streamer.errors.EvictedWeightsError: leave it out")
    skipped = tool.Outcome("skipped")
    stock = {"both": good, "worse": bad, "lost": good, "gone": good, "refused": good, "looks": good, "none": skipped}
    streamed = {"both": good, "worse": good, "lost": bad, "refused": refusal, "looks": bad, "none": skipped}
    names = {"x.test_loading_with_variants": good}
    result = tool.compare(stock | names, streamed | {"x.test_loading_with_variants": bad})
    assert result.passed == ("both",)
    assert result.failed == {"lost": "AssertionError", "gone": "it didn't run", "looks": "AssertionError"}
    assert result.refused == {"refused": refusal.message}
    assert result.looks_at_weights == ("x.test_loading_with_variants",)
    assert (result.failed_anyway, result.skipped) == (("worse",), 1)


SUITE = """
import torch
from diffusers import UNet2DConditionModel
from transformers import CLIPTokenizer


class TestPipeline:
    def get_dummy_components(self):
        torch.manual_seed(0)
        return {"unet": UNet2DConditionModel(
            block_out_channels=(4, 8), layers_per_block=1, sample_size=8,
            down_block_types=("DownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "UpBlock2D"),
            cross_attention_dim=8, norm_num_groups=2)}

    def test_it_streams(self):
        unet = self.get_dummy_components()["unet"]
        out = unet(torch.ones(1, 4, 8, 8), 1, torch.ones(1, 1, 8)).sample
        assert torch.isfinite(out).all()
        assert bool(torch.isnan(unet.down_blocks[0].resnets[0].conv1.weight).any()) is STREAMED

    def test_words_are_told(self):
        ids = CLIPTokenizer.from_pretrained("hf-internal-testing/tiny-random-clip")("A cat").input_ids
        assert max(ids) < 1000 and len(ids) == 6
"""


@pytest.mark.parametrize("streamed", [True, False])
def test_the_unets_of_a_test_class_stream_where_they_shall(tmp_path, streamed):
    (tmp_path / "test_it.py").write_text(SUITE.replace("STREAMED", str(streamed)))
    program = f"""
import sys
sys.path.insert(0, {str(Path(tool.__file__).parent)!r})
import run_diffusers_tests as tool
from pathlib import Path
report = Path("report.xml").resolve()
ended = tool.run(Path(".").resolve(), ["test_it.py"], report, streamed={streamed})
assert [each.kind for each in ended.values()] == ["passed", "passed"], ended
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
