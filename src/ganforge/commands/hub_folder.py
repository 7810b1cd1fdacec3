"""Writes a model as a folder for the Hugging Face Hub, and uploads it."""

import json
import shutil
from pathlib import Path
from typing import Any

from ganforge.commands import export, model_card
from ganforge.errors import UserError, require
from ganforge.files.folders import make_writable, replace
from ganforge.files.untrusted import first_line
from ganforge.runs import checkpoint, exported
from ganforge.runs.generators import Generator, load_generator
from ganforge.runs.hub_folder import CONFIG, LIBRARY, README, WEIGHTS


def write(generator: Generator, folder: Path, license: str) -> None:
    """model.safetensors, config.json, README.md and its pictures; the folder appears when all of it is written."""
    import safetensors.torch

    path, card = generator.path, generator.card
    outputs = list(card["outputs"])
    for name in outputs[1:]:
        load_generator(path, name)  # refuses weights that do not fit
    kept = exported.card_of(card, outputs)
    said = kept[exported.SECTION] = export.said_of(generator, outputs[0], "safetensors", license)
    parts = {
        f"{network}{'_ema' if own['averaged'] and network == own['network'] else ''}."
        for own in kept["outputs"].values()
        for network in (own["network"], own.get("reader"))
        if network
    }
    state = checkpoint.load(path)["state_dict"]
    weights = {
        name: value.clone().contiguous() for name, value in state.items() if name.startswith(tuple(parts))
    }  # a copy each: a file of safetensors holds nothing twice
    config = {"library_name": LIBRARY, "model_type": said["model"], "license": license, "ganforge": kept}
    unfinished = folder.with_name(f"{folder.name}.unfinished")
    make_writable(folder.resolve().parent, f"--output {folder}")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        with replace(unfinished / WEIGHTS) as file:
            file.write(safetensors.torch.save(weights, metadata={"format": "pt", "library": LIBRARY}))
        _write(unfinished / CONFIG, json.dumps(config, indent=2, allow_nan=False) + "\n")
        _write(unfinished / README, model_card.text(generator, kept, unfinished))
        load_generator(unfinished)  # what cannot be opened again is not left behind
        for file in unfinished.iterdir():
            if folder.is_dir():
                file.replace(folder / file.name)
        if not folder.is_dir():
            unfinished.replace(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    print(f"{folder}: {', '.join(sorted(file.name for file in folder.iterdir()))}")


def push(folder: Path, name: str) -> None:
    """Upload a folder to the repository `name` of the Hub, made if missing, with the account's token."""
    import huggingface_hub

    require(
        huggingface_hub.get_token() is not None,
        f"--push {name}: no account of the Hugging Face Hub is known here; run hf auth login, or set HF_TOKEN. The "
        f"folder {folder} is complete",
    )
    try:
        hub = huggingface_hub.HfApi()
        hub.create_repo(name, exist_ok=True)
        said: Any = hub.upload_folder(repo_id=name, folder_path=folder, commit_message="ganforge export")
    except Exception as error:  # of the network and the service, of many kinds
        raise UserError(
            f"--push {name}: the Hub did not take it ({first_line(error)}); the folder {folder} is complete"
        ) from error
    print(f"uploaded to {name}: {said}")


def _write(path: Path, text: str) -> None:
    with replace(path) as file:
        file.write(text.encode())
