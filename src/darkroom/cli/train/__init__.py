"""The verbs under ``darkroom train``: one leg each; torch is imported when one runs, not for --help."""

from darkroom.cli.train.autoencoder import train_autoencoder
from darkroom.cli.train.beside.control import train_control
from darkroom.cli.train.beside.image_prompt import train_image_prompt
from darkroom.cli.train.beside.lora import train_lora
from darkroom.cli.train.beside.preference import train_preference
from darkroom.cli.train.diffusion import train_diffusion
from darkroom.cli.train.flowmap import train_flow_map
from darkroom.cli.train.judge import train_judge
from darkroom.cli.train.next import train_next
from darkroom.cli.train.options import train_app
from darkroom.cli.train.own import train_own
from darkroom.cli.train.text import train_text
from darkroom.cli.train.upscaler import train_upscaler

__all__ = [
    "train_app",
    "train_autoencoder",
    "train_control",
    "train_diffusion",
    "train_flow_map",
    "train_image_prompt",
    "train_judge",
    "train_lora",
    "train_next",
    "train_own",
    "train_preference",
    "train_text",
    "train_upscaler",
]
