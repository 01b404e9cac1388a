"""A model of ours as a folder that others can read: which component lies where, and what is said of it all.

The folder is laid out as diffusers lays out its own: ``model_index.json`` names the parts, each part is a folder with
its settings and its weights, the scheduler's settings are what a request gets where it says nothing. What a card says
besides (what the model draws, its limits, licence and training) is in ``darkroom.json``.
"""

from __future__ import annotations

from typing import NamedTuple

from darkroom.contracts.card import IMAGE, UPSCALER, Card

PIPELINE = "DarkroomPipeline"
LIBRARY = "darkroom"
ABOUT = "darkroom.json"
SCHEDULER = "RectifiedFlow"  # what all our denoisers are trained on (arXiv:2209.03003)
TOKENIZER = "tokenizer"  # its component, its folder
TOKENS = "tokenizer.json"  # and its file
LICENCES = "LICEN[CS]E*"  # files that go with the weights wherever they go


class Place(NamedTuple):
    """Where a component lies: its part's folder, its file there, and the class its settings name."""

    part: str
    file: str
    network: str


PLACES = {
    "text": Place("text_encoder", "model.safetensors", "TextEncoder"),
    "denoiser": Place("transformer", "diffusion_pytorch_model.safetensors", "Denoiser"),
    "autoencoder": Place("vae", "diffusion_pytorch_model.safetensors", "Autoencoder"),
    UPSCALER: Place("upscaler", "diffusion_pytorch_model.safetensors", "Upscaler"),
    IMAGE: Place("image_encoder", "model.safetensors", "ImageTower"),
}
ELSEWHERE = ("name", "family", "defaults", "files", "configs")  # what a card says and ``darkroom.json`` does not
TOLD = tuple(name for name in Card.model_fields if name not in ELSEWHERE)
