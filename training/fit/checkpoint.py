"""Checkpoints: written in one step, refused where they are damaged or of another network."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..errors import CheckpointError
from ..models.vae import VaeEncoder, make_vae
from .config import FitConfig


def save_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write a checkpoint in one step: whatever goes wrong, the file before it survives.

    Raises:
        CheckpointError: it cannot be written (a full disk, say).
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file:
            torch.save(dict(state), file)
        partial.replace(path)
    except (OSError, RuntimeError) as error:
        partial.unlink(missing_ok=True)
        raise CheckpointError(
            f"cannot write the checkpoint {path}: {error}; the one before it is untouched"
        ) from error


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint.

    Raises:
        CheckpointError: missing, damaged, or no checkpoint of ours.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"no checkpoint at {path}") from None
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.PickleError) as error:
        raise CheckpointError(f"{path} is not a readable checkpoint: {error}") from error
    if not isinstance(state, dict) or not {"model", "config", "step"} <= set(state):
        raise CheckpointError(f"{path} is not a checkpoint of facestream's training")
    return state


def restore_module(module: nn.Module, weights: Mapping[str, Any], path: Path) -> None:
    """Put a checkpoint's weights into a network.

    Raises:
        CheckpointError: they are of another architecture.
    """
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise CheckpointError(f"{path} is of another architecture: {reason}") from error


def restore_encoder(encoder: VaeEncoder, state: Mapping[str, Any], path: Path) -> None:
    """Put the encoder's part of a checkpoint into an encoder, whatever else it trained.

    Raises:
        CheckpointError: it is of another architecture.
    """
    start = "encoder."
    weights = {k.removeprefix(start): v for k, v in state["model"].items() if k.startswith(start)}
    restore_module(encoder, weights, path)


def load_encoder(path: Path) -> tuple[VaeEncoder, FitConfig]:
    """The encoder of a checkpoint, in evaluation mode, and the settings it was trained with.

    Raises:
        CheckpointError: as ``load_checkpoint`` and ``restore_encoder``; or a run of another kind.
    """
    state = load_checkpoint(path)
    if state.get("kind", "identity") != "identity":
        raise CheckpointError(f"{path} holds a {state['kind']}, not an encoder")
    config = FitConfig.model_validate_json(state["config"])
    encoder = make_vae(config.backbone, dim=config.dim).encoder
    restore_encoder(encoder, state, path)
    return encoder.eval(), config
