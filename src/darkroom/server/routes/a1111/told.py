"""What A1111's clients are told of the pictures that were drawn."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from fastapi.responses import Response

from darkroom.contracts.job import Job
from darkroom.contracts.recipe import Recipe
from darkroom.picture.infotext import MODEL_HASH_CHARACTERS, infotext
from darkroom.server.awaited import finished
from darkroom.server.routes.a1111.asked import Asked
from darkroom.server.routes.a1111.names import SAMPLERS, SCHEDULERS
from darkroom.server.studio import Studio

NOTES = "darkroom_notes"
PICTURES = ("init_images", "mask", "alwayson_scripts")  # fields with pictures, which are not sent back


def replied(told: Mapping[str, Any]) -> Response:
    """JSON in ASCII: what a client sent may hold halves of characters, which no other encoding takes."""
    return Response(json.dumps(told), media_type="application/json")


def reply(
    fields: Mapping[str, Any], asked: Asked, notes: Sequence[str], jobs: Sequence[Job], studio: Studio, owner: str
) -> dict[str, Any]:
    """The reply to txt2img and img2img: the pictures that are done, what was asked, and what was drawn."""
    done = [job for job in jobs if job.picture is not None and job.state == "done"]
    recipes = [Recipe.from_json(studio.gallery.recipe(owner, job.picture or "")) for job in done]
    images = [] if asked.send_images is False else [_encoded(job, owner, studio) for job in done]
    hidden = () if asked.include_init_images else PICTURES
    parameters = {name: None if name in hidden else value for name, value in fields.items()}
    told = list(notes) + ([f"{len(jobs) - len(done)} pictures were cancelled"] if len(done) < len(jobs) else [])
    info = _info(asked, recipes, done) | {NOTES: told}
    return {"images": images, "parameters": {**parameters, NOTES: told}, "info": json.dumps(info)}


def _encoded(job: Job, owner: str, studio: Studio) -> str:
    return base64.b64encode(finished(job.picture or "", owner, studio)).decode()


def _info(asked: Asked, recipes: Sequence[Recipe], jobs: Sequence[Job]) -> dict[str, Any]:
    several = {
        "all_prompts": [recipe.prompt.text for recipe in recipes],
        "all_negative_prompts": [recipe.prompt.negative for recipe in recipes],
        "all_seeds": [recipe.seed for recipe in recipes],
        "all_subseeds": [recipe.variation_seed or 0 for recipe in recipes],
        "infotexts": [infotext(recipe) for recipe in recipes],
    }
    if not recipes:
        return {"prompt": asked.prompt, "negative_prompt": asked.negative_prompt or "", **several}
    first = recipes[0]
    return {
        "prompt": first.prompt.text,
        "negative_prompt": first.prompt.negative,
        "seed": first.seed,
        "subseed": first.variation_seed or 0,
        "subseed_strength": first.variation or 0.0,
        **several,
        "width": first.width,
        "height": first.height,
        "sampler_name": SAMPLERS.get(first.sampler, first.sampler),
        "scheduler": SCHEDULERS.get(first.spacing, first.spacing),
        "cfg_scale": first.guidance,
        "steps": first.steps,
        "batch_size": asked.batch_size or 1,
        "restore_faces": False,
        "sd_model_name": first.model,
        "sd_model_hash": first.model_hash[:MODEL_HASH_CHARACTERS],
        "denoising_strength": first.strength if first.init_image is not None else first.hires,
        "extra_generation_params": {},
        "index_of_first_image": 0,
        "styles": asked.styles or [],
        "job_timestamp": datetime.fromtimestamp(jobs[0].created).strftime("%Y%m%d%H%M%S"),
        "clip_skip": 1,
        "is_using_inpainting_conditioning": False,
        "version": f"darkroom {first.darkroom}",
    }
