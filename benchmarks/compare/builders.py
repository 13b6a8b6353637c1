"""A U-Net under each runtime, made as its documentation tells its users to; runs in the child.

What a runtime refuses, it refuses with its own error, which is then shown as the reason. Each imports what its users
would, and when: that is part of its first step. Nothing of this project is imported for the others.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from benchmarks.compare.setting import Setting


def _loaded(setting: Setting) -> Any:
    """In host memory, in the type to compute in."""
    import torch
    from diffusers import UNet2DConditionModel

    dtype = getattr(torch, setting.compute)
    unet = UNet2DConditionModel.from_pretrained(setting.model, torch_dtype=dtype, low_cpu_mem_usage=True)
    return unet.eval()


def resident(setting: Setting) -> Any:
    """All weights on the device."""
    return _loaded(setting).to(setting.device)


def layerwise_casting(setting: Setting) -> Any:
    """Weights on the device in half precision, each layer's cast when it runs."""
    if setting.compute == "float16":
        raise ValueError("weights are computed with in float16 here, so that keeping them in float16 saves nothing")
    import torch

    unet = _loaded(setting)
    unet.enable_layerwise_casting(storage_dtype=torch.float16, compute_dtype=getattr(torch, setting.compute))
    return unet.to(setting.device)


def layerwise_casting_by_hand(setting: Setting) -> Any:
    """As `layerwise_casting`, without ever having the weights in the type to compute in: what diffusers doesn't cast by
    itself, norms, is cast once."""
    if setting.compute == "float16":
        raise ValueError("weights are computed with in float16 here, so that keeping them in float16 saves nothing")
    import torch
    from diffusers import UNet2DConditionModel

    unet = UNet2DConditionModel.from_pretrained(setting.model, torch_dtype=torch.float16, low_cpu_mem_usage=True).eval()
    compute = getattr(torch, setting.compute)
    unet.enable_layerwise_casting(storage_dtype=torch.float16, compute_dtype=compute)
    for module in unet.modules():
        if not hasattr(module, "_diffusers_hook"):
            for parameter in module.parameters(recurse=False):
                parameter.data = parameter.data.to(compute)
    return unet.to(setting.device)


def _pipeline(setting: Setting) -> Any:
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline

    return StableDiffusionXLPipeline(
        vae=None,
        text_encoder=None,
        text_encoder_2=None,
        tokenizer=None,
        tokenizer_2=None,
        unet=_loaded(setting),
        scheduler=EulerDiscreteScheduler(),
    )


def _of_pipeline(pipe: Any) -> Any:
    pipe.unet.pipeline = pipe  # the hooks live as long as it
    return pipe.unet


def model_offload(setting: Setting) -> Any:
    """The whole U-Net comes to the device for its turn, and stays until another part's."""
    pipe = _pipeline(setting)
    pipe.enable_model_cpu_offload(**_accelerator(setting))
    return _of_pipeline(pipe)


def sequential_offload(setting: Setting) -> Any:
    """Layer by layer."""
    pipe = _pipeline(setting)
    pipe.enable_sequential_cpu_offload(**_accelerator(setting))
    return _of_pipeline(pipe)


def _accelerator(setting: Setting) -> dict[str, str]:
    # On a CPU it is asked as its users would ask; a device "cpu:0" forced on it isn't one that hooks know.
    return {} if setting.device == "cpu" else {"device": setting.device}


def group_offload(setting: Setting) -> Any:
    """Groups of layers, by block or by leaf; from host memory or files; with or without a stream."""
    import torch

    stream = bool(setting.options["stream"])
    unet = _loaded(setting)
    unet.enable_group_offload(
        onload_device=torch.device(setting.device),
        offload_device=torch.device("cpu"),
        offload_type=setting.options["level"],
        num_blocks_per_group=1 if setting.options["level"] == "block_level" else None,
        use_stream=stream,
        record_stream=stream,
        low_cpu_mem_usage=not setting.options["pinned"],
        offload_to_disk_path=str(setting.scratch) if setting.options["disk"] else None,
    )
    return unet


def cpu_offload(setting: Setting) -> Any:
    """Layer by layer out of host memory."""
    import accelerate
    import torch

    return accelerate.cpu_offload(_loaded(setting), execution_device=torch.device(setting.device))


def disk_offload(setting: Setting) -> Any:
    """Layer by layer out of files that are written from the loaded model."""
    import accelerate
    import torch

    unet = _loaded(setting)
    return accelerate.disk_offload(unet, str(setting.scratch), execution_device=torch.device(setting.device))


def dispatch_to_disk(setting: Setting) -> Any:
    """As `disk_offload`, but the weights go to the files as they are loaded."""
    import accelerate
    import torch
    from diffusers import UNet2DConditionModel

    with accelerate.init_empty_weights():
        config = json.loads((setting.model / "config.json").read_text("utf-8"))
        unet = UNet2DConditionModel.from_config(config).eval()
    # With the first layer on the device: a map that names nothing but the disk isn't understood.
    where: dict[str, Any] = {name: "disk" for name, _ in unet.named_children()}
    where["conv_in"] = "cpu" if setting.device == "cpu" else 0
    return accelerate.load_checkpoint_and_dispatch(
        unet,
        str(setting.model / "diffusion_pytorch_model.safetensors"),
        device_map=where,
        offload_folder=str(setting.scratch),
        dtype=getattr(torch, setting.compute),
    )


def mmgp(setting: Setting) -> Any:
    """Blocks out of host memory, with the weights as they are."""
    if setting.device == "cpu":
        raise RuntimeError("mmgp moves weights between host memory and a CUDA device, and there is none")
    from mmgp import offload

    unet = _loaded(setting)
    unet.offloader = offload.all(
        {"unet": unet},
        quantizeTransformer=False,
        convertWeightsFloatTo=None,
        budgets={"*": setting.options["budget_megabytes"]},
        verboseLevel=0,
    )
    return unet


def streamed(setting: Setting) -> Any:
    """This project's, as its documentation has it."""
    import streamer

    return streamer.load_unet(
        setting.weights,
        vram_budget=setting.options["vram_budget"],
        ram_budget=setting.options["ram_budget"],
        device=setting.device,
        spill=setting.scratch / "decoded" if setting.options.get("spill") else None,
    )


BUILDERS: dict[str, Callable[[Setting], Any]] = {
    build.__name__: build
    for build in (
        resident,
        layerwise_casting,
        layerwise_casting_by_hand,
        model_offload,
        sequential_offload,
        group_offload,
        cpu_offload,
        disk_offload,
        dispatch_to_disk,
        mmgp,
        streamed,
    )
}
