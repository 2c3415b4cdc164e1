"""Adapter bundles: everything that was trained, in one folder.

config.yaml                     the resolved stack config
input_projectors.safetensors    output_projectors.safetensors
signal_tokens.safetensors       the new embedding rows
lora/                           PEFT's own layout
README.md                       model card
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from safetensors.torch import save_file

from anygpt.config import StackConfig, save_config
from anygpt.errors import CheckpointError
from anygpt.weights import locate
from backbone.adapters import load_strictly, read_tensors
from pipelines.backbone_stage import BackboneStage

PROJECTOR_FILES = ("input_projectors", "output_projectors")


def save_bundle(stage: BackboneStage, config: StackConfig, folder: Path) -> None:
    """Write the bundle; the folder appears whole or not at all, and an older bundle in its place is replaced."""
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        for name in PROJECTOR_FILES:
            tensors = {key: value.cpu().contiguous() for key, value in getattr(stage, name).state_dict().items()}
            save_file(tensors, partial / f"{name}.safetensors")
        stage.backbone.save_adapters(partial)
        save_config(config, partial / "config.yaml")
        (partial / "README.md").write_text(model_card(stage, config), encoding="utf-8")
        partial.chmod(0o755)
        for item in partial.iterdir():
            _replace(item, folder / item.name)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _replace(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_dir():
        shutil.rmtree(target)
    source.replace(target)


def load_bundle(stage: BackboneStage, where: str) -> None:
    """Read a bundle into a stage of the same config, strictly.

    Raises:
        CheckpointError: if a file or tensor is missing, unexpected or of another shape.
    """
    folder = bundle_folder(where)
    for name in PROJECTOR_FILES:
        load_strictly(getattr(stage, name), read_tensors(folder / f"{name}.safetensors"), f"{name}.safetensors")
    stage.backbone.load_adapters(folder)


def bundle_folder(where: str) -> Path:
    """The local folder of a bundle: a folder, `embedded:…`, or a hub repository that is fetched.

    Raises:
        CheckpointError: if there is none.
    """
    folder = Path(locate(where))
    if folder.is_dir():
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
