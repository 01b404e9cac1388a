"""A picture's recipe, to be drawn again: everything that took part is found, and is what it was."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from darkroom.cards import folder_of, known_models, read_card
from darkroom.contracts.errors import BadInput, DarkroomError, shown
from darkroom.contracts.files import file_sha256
from darkroom.contracts.recipe import FileUse, Recipe
from darkroom.contracts.steering import Control, ImagePrompt, Lora, RefinerModel, control, image_prompt, lora, refiner
from darkroom.control.public.beside import hash_of
from darkroom.model import Model, check_names
from darkroom.picture.metadata import read_recipe
from darkroom.synthesis.samplers import SAMPLERS


def recipe_again(model: Model, path: Path, given: Mapping[str, Any], files: Path) -> Recipe:
    """The recipe inside a picture; refuses one that this model, with what is ``given``, cannot reproduce.

    What is not given (guide, refiner, lora, control, embedding, vae) is looked for in ``files``, and by its name.
    """
    recipe = read_recipe(path)
    if recipe.model_hash != model.card.model_hash:
        raise BadInput(
            f"{path}",
            f"was made by the model {recipe.model} {recipe.model_hash[:12]}, and this one is {model.card.name} "
            f"{model.card.model_hash[:12]}",
            "name that model's folder with --model",
        )
    _open_guide(model, recipe, path, given.get("guide"))
    _open_refiner(model, recipe, path, given.get("refiner"))
    _open_adapters(model, recipe, path, given.get("lora", []), files)
    vae = [given["vae"]] if "vae" in given else []
    used = [] if recipe.vae is None else [recipe.vae]
    _open_controls(model, recipe, path, [Control.checked(control(text)) for text in given.get("control", [])], files)
    _check_references(recipe, path, given.get("image_prompt", []))
    _open_files(
        "embedding", recipe.embeddings, given.get("embedding", []), files, lambda n: model.open_embedding(n).sha256
    )
    _open_files("vae", used, vae, files, lambda name: model.open_vae(name).sha256)
    model.fitted(recipe)
    if recipe.sampler not in SAMPLERS:
        raise BadInput(f"{path}", f"was sampled by {recipe.sampler}, which is not here", "draw it in Python")
    check_names(recipe)
    return recipe


def _open_guide(model: Model, recipe: Recipe, path: Path, guide: str | None) -> None:
    """Opens the weaker model of a recipe, where it is given. Raises BadInput for another one, and where it is not."""
    if guide is not None and recipe.guide is None:
        raise BadInput(f"--guide {shown(guide)}", "is no part of this recipe", "leave it out")
    if guide is not None and recipe.guide is not None:
        card = read_card(folder_of(guide))
        if card.model_hash != recipe.guide.model_hash:
            rule = f"was led away from {recipe.guide.name} {recipe.guide.model_hash[:12]}, and this is {card.name} "
            raise BadInput(f"{path}", f"{rule}{card.model_hash[:12]}", "name that model's folder with --guide")
        model.open_guide(guide)
    if recipe.guide is not None:
        model.guide(recipe.guide)


def _open_refiner(model: Model, recipe: Recipe, path: Path, given: str | None) -> None:
    """Opens the second model of a recipe, given or in the store. Raises BadInput for another one, and where it is not
    there."""
    if recipe.refiner is None:
        if given is not None:
            raise BadInput(f"--refiner {shown(given)}", "is no part of this recipe", "leave it out")
        return
    asked = recipe.refiner.asked() if given is None else RefinerModel.checked(refiner(given))
    if given is not None:
        card = read_card(folder_of(asked.model))
        if card.model_hash != recipe.refiner.model_hash:
            rule = f"was finished by {recipe.refiner.name} {recipe.refiner.model_hash[:12]}, and this is {card.name} "
            raise BadInput(f"{path}", f"{rule}{card.model_hash[:12]}", "name that model's folder with --refiner")
        if "at" in asked.model_fields_set and asked.at != recipe.refiner.at:
            rule = f"took over at {recipe.refiner.at:g} in {path}"
            raise BadInput(f"--refiner {shown(given)}", rule, "leave the number out")
    known = known_models().get(asked.model)
    if given is not None or (known is not None and read_card(known).model_hash == recipe.refiner.model_hash):
        model.open_refiner(asked)
    model.refiner(recipe.refiner)


def _open_files(
    flag: str, uses: Sequence[FileUse], given: Sequence[str], files: Path, open_: Callable[[str], str]
) -> None:
    """Opens files of a recipe: those given for a flag, and for what is still missing those in ``files`` or here."""
    missing = {use.sha256 for use in uses}
    for name in given:
        if (sha256 := open_(name)) not in {use.sha256 for use in uses}:
            raise BadInput(f"--{flag} {shown(name)}, {sha256[:12]}", "is no part of this recipe", "leave it out")
        missing.discard(sha256)
    for use in uses:
        for place in (files / use.name, Path(use.name)):
            if use.sha256 in missing and _is(place, use.sha256):
                missing.discard(open_(str(place)))


def _open_controls(model: Model, recipe: Recipe, path: Path, given: Sequence[Control], files: Path) -> None:
    """Opens the controls of a recipe. Raises BadInput for one that is given and acted in another way."""

    def opened(name: str) -> str:
        return model.open_control_file(name)

    _open_files("control", recipe.controls, [one.network for one in given], files, opened)
    for one in given:
        acted = [use.asked() for use in recipe.controls if use.sha256 == opened(one.network)]
        said = one.model_dump(include=one.model_fields_set - {"network", "map"})
        if not any(said.items() <= use.model_dump().items() for use in acted):
            rule = f"acted with {acted[0].scale:g} from {acted[0].start:g} to {acted[0].end:g} in {path}"
            raise BadInput(f"--control {shown(one.network)}", rule, "leave the numbers out, or give these")


def _check_references(recipe: Recipe, path: Path, given: Sequence[str]) -> None:
    """Raises BadInput for a reference picture that is given and acted in another way; ``Inputs`` knows which it is."""
    for text in given:
        one = ImagePrompt.checked(image_prompt(text))
        said = one.model_dump(include=one.model_fields_set - {"file"})
        if recipe.image_prompts and not any(said.items() <= use.model_dump().items() for use in recipe.image_prompts):
            first = recipe.image_prompts[0]
            rule = f"acted with {first.scale:g} for its {first.keep} in {path}"
            raise BadInput(f"--image-prompt {shown(text)}", rule, "leave what stands behind its name out")


def _is(place: Path, sha256: str) -> bool:
    """Whether a file or folder with this hash is there."""
    try:
        return place.exists() and hash_of(place) == sha256
    except DarkroomError:
        return False  # a folder of something else


def _open_adapters(model: Model, recipe: Recipe, path: Path, loras: Sequence[str], files: Path) -> None:
    """Opens the adapters of a recipe: those given, and for what is still missing those in ``files`` or here."""
    scales: dict[str, list[float]] = {}
    for use in recipe.adapters:
        scales.setdefault(use.sha256, []).append(use.scale)
    missing = set(scales)
    for given in (Lora.model_validate(lora(text)) for text in loras):
        sha256 = model.open_adapter(given).sha256
        if sha256 not in scales:
            rule = "took no part in it" if scales else "is no part of this recipe"
            raise BadInput(f"--lora {shown(given.file)}, {sha256[:12]}", f"{rule}: {path}", "leave it out")
        if "scale" in given.model_fields_set and given.scale not in scales[sha256]:
            rule = f"acted with {scales[sha256][0]:g} in {path}, and is asked for with {given.scale:g}"
            raise BadInput(f"--lora {shown(given.file)}", rule, "leave the number out")
        missing.discard(sha256)
    for use in recipe.adapters:
        for place in (files / use.name, Path(use.name)):
            if use.sha256 in missing and place.is_file() and file_sha256(place) == use.sha256:
                model.open_adapter(Lora(file=str(place)))
                missing.discard(use.sha256)
    model.riders(recipe.adapters)
