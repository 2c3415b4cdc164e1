"""Adapter bundles: everything that was trained, in one folder.

config.yaml                     the resolved stack config; written last, so a folder without it is no bundle
input_projectors.safetensors    output_projectors.safetensors
signal_tokens.safetensors       the new embedding rows
lora/                           PEFT's own layout
README.md                       model card
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from anygpt.checkpoints.locate import locate
from anygpt.config.loading import save_config
from anygpt.config.schema import StackConfig
from anygpt.errors import CheckpointError
from anygpt.media.sources import one_line
from backbone.adapters import load_strictly, read_tensors, saved_tensors
from pipelines.stack.backbone_stage import BackboneStage

CONFIG_FILE = "config.yaml"
PROJECTOR_FILES = ("input_projectors", "output_projectors")


def save_bundle(stage: BackboneStage, config: StackConfig, folder: Path) -> None:
    """Write the bundle, in place of an older one; other things in the folder stay.

    All files are written beside their places first. While they are moved there, the folder has no `config.yaml` and is
    refused: whatever interrupts the saving, a mixture of two bundles is never loaded.

    Raises:
        CheckpointError: if the folder cannot be written.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=".saving-", dir=folder))
        try:
            _write_files(stage, config, partial)
            (folder / CONFIG_FILE).unlink(missing_ok=True)
            for item in sorted(partial.iterdir(), key=lambda item: item.name == CONFIG_FILE):
                if item.is_dir():
                    shutil.rmtree(folder / item.name, ignore_errors=True)
                item.replace(folder / item.name)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    except (OSError, SafetensorError) as error:
        reason = one_line(getattr(error, "strerror", None) or str(error))
        raise CheckpointError(
            f"adapter bundle: '{folder}' cannot be written ({reason}); give another folder"
        ) from error


def _write_files(stage: BackboneStage, config: StackConfig, folder: Path) -> None:
    for name in PROJECTOR_FILES:
        save_file(saved_tensors(getattr(stage, name).state_dict()), folder / f"{name}.safetensors")
    stage.backbone.save_adapters(folder)
    # The bundle has all of them; where they began is of no use to those who load it.
    save_config(replace(config, adapters=None, adapter_overlays=[]), folder / CONFIG_FILE)
    (folder / "README.md").write_text(model_card(stage, config), encoding="utf-8")


def load_bundle(
    stage: BackboneStage, where: str, overlays: Sequence[str] = (), untrained_inputs: Collection[str] = ()
) -> None:
    """Read a bundle into a stage of the same config, strictly.

    Args:
        overlays: folders with some projectors of other bundles, which take the place of this bundle's; later ones win.
        untrained_inputs: modalities whose input projector stays as it is, whatever the bundle has for it.
    Raises:
        CheckpointError: if a file or tensor is missing, unexpected or of another shape.
    """
    folder = bundle_folder(where)
    if not (folder / CONFIG_FILE).is_file():
        raise CheckpointError(
            f"adapter bundle: {folder / CONFIG_FILE} is missing, so this is no bundle or its saving was interrupted; "
            "save it again"
        )
    for name in PROJECTOR_FILES:
        file = f"{name}.safetensors"
        tensors = read_tensors(folder / file)
        for overlay in map(bundle_folder, overlays):
            if (overlay / file).is_file():
                tensors = replaced_tensors(tensors, read_tensors(overlay / file))
        if name == "input_projectors":
            own = saved_tensors(stage.input_projectors.state_dict())
            untrained = {key: tensor for key, tensor in own.items() if modality_of_key(key) in untrained_inputs}
            tensors = replaced_tensors(tensors, untrained)
        load_strictly(getattr(stage, name), tensors, file)
    stage.backbone.load_adapters(folder)


def replaced_tensors(tensors: Mapping[str, Tensor], others: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The projectors' tensors, with those of some modalities exchanged."""
    exchanged = {modality_of_key(key) for key in others}
    return {**{key: tensor for key, tensor in tensors.items() if modality_of_key(key) not in exchanged}, **others}


def modality_of_key(key: str) -> str:
    """ "audio" of "audio.in_norm.weight"."""
    return key.partition(".")[0]


def bundle_folder(where: str) -> Path:
    """The local folder of a bundle: a folder, `embedded:…`, or a hub repository that is fetched.

    Raises:
        CheckpointError: if there is none.
    """
    folder = Path(locate(where))
    if os.path.isdir(folder):
        return folder
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(where))
    except Exception as error:  # the hub client has many error types, some of them from its HTTP library
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointError(
            f"adapter bundle '{where}': no such folder, and it cannot be fetched from the hub: {reason}"
        ) from error


def model_card(stage: BackboneStage, config: StackConfig) -> str:
    """A README that says what the bundle is and how to load it."""
    adapters = [stage.input_projectors, stage.output_projectors, stage.backbone.signal_tokens]
    count = sum(parameter.numel() for part in adapters for parameter in part.parameters())
    lora = sum(p.numel() for p in stage.backbone.trainable_parameters(signal_rows=False, lora=True).values())
    return (
        "---\nlibrary_name: anygpt\npipeline_tag: any-to-any\n---\n\n"
        f"# anygpt adapters: {config.name}\n\n"
        f"Adapters for the stack `{config.name}`: text, {', '.join(config.encoders)} in; "
        f"text, {', '.join(config.generators)} out.\n"
        f"{count:,} parameters in projectors and signal tokens, {lora:,} in LoRA. "
        "The frozen parts are named in `config.yaml`.\n\n"
        '```python\nfrom anygpt import AnyGPT\n\nmodel = AnyGPT.from_pretrained("path/to/this/folder")\n```\n'
    )
