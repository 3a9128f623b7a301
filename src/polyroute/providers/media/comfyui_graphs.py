"""The graphs that ComfyUI is given where nobody gives one: Stable Diffusion with a checkpoint, and an enlarger."""

from __future__ import annotations

from typing import Any

from polyroute.types.media import Task


def _diffusion(latent: dict[str, Any], strength: Any, masked: bool = False) -> dict[str, Any]:
    nodes: dict[str, Any] = {
        "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "{model}"}},
        "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "{prompt}", "clip": ["1", 1]}},
        "3": {"class_type": "CLIPTextEncode", "inputs": {"text": "{negative_prompt}", "clip": ["1", 1]}},
        **latent,
        "5": {
            "class_type": "KSampler",
            "inputs": {
                "seed": "{seed}", "steps": "{steps}", "cfg": "{guidance}", "sampler_name": "euler",
                "scheduler": "normal", "denoise": strength, "model": ["1", 0], "positive": ["2", 0],
                "negative": ["3", 0], "latent_image": ["9" if masked else "4", 0],
            },
        },
        "6": {"class_type": "VAEDecode", "inputs": {"samples": ["5", 0], "vae": ["1", 2]}},
        "7": {"class_type": "SaveImage", "inputs": {"filename_prefix": "polyroute", "images": ["6", 0]}},
    }  # fmt: skip
    return nodes


_EMPTY = {
    "4": {
        "class_type": "EmptyLatentImage", "inputs": {"width": "{width}", "height": "{height}", "batch_size": "{n}"},
    }
}  # fmt: skip
_GIVEN = {
    "8": {"class_type": "LoadImage", "inputs": {"image": "{image}"}},
    "4": {"class_type": "VAEEncode", "inputs": {"pixels": ["8", 0], "vae": ["1", 2]}},
}
_MASKED = {
    **_GIVEN,
    "10": {"class_type": "LoadImageMask", "inputs": {"image": "{mask}", "channel": "red"}},
    "9": {"class_type": "SetLatentNoiseMask", "inputs": {"samples": ["4", 0], "mask": ["10", 0]}},
}

BUILT_IN: dict[Task, dict[str, Any]] = {
    Task.TEXT_TO_IMAGE: _diffusion(_EMPTY, 1.0),
    Task.IMAGE_TO_IMAGE: _diffusion(_GIVEN, "{strength}"),
    Task.EDIT_IMAGE: _diffusion(_MASKED, "{strength}", masked=True),
    Task.UPSCALE_IMAGE: {
        "1": {"class_type": "UpscaleModelLoader", "inputs": {"model_name": "{model}"}},
        "2": {"class_type": "LoadImage", "inputs": {"image": "{image}"}},
        "3": {"class_type": "ImageUpscaleWithModel", "inputs": {"upscale_model": ["1", 0], "image": ["2", 0]}},
        "4": {"class_type": "SaveImage", "inputs": {"filename_prefix": "polyroute", "images": ["3", 0]}},
    },
}
"""By task; `{name}` stands for what a request says."""
