"""Settings of a training run; written beside every checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ..losses.margin import MarginKind
from ..models.backbones import BackboneName
from ..models.vae import LATENT_DIM

# Names that settings had before, in files and checkpoints.
RENAMED: Final = {"doubt": "uncertainty"}


class LossWeights(BaseModel):
    """How much each loss counts."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    distil: float = Field(default=1.0, ge=0, description="cosine to the teacher's clean embedding")
    margin: float = Field(default=0.0, ge=0, description="margin between labelled people")
    uncertainty: float = Field(
        default=1.0, ge=0, description="heteroscedastic likelihood, teaches sigma"
    )
    reconstruction: float = Field(
        default=1.0, ge=0, description="masked error of the decoder's pictures"
    )
    reconstruction_to_mu: float = Field(
        default=0.02, ge=0, le=1, description="share of the decoder's gradient that reaches mu"
    )
    kl: float = Field(default=0.01, ge=0, description="KL to a standard normal, a dimension's mean")
    kl_warm_up: int = Field(default=200, ge=0, description="steps over which the KL's weight rises")
    free_bits: float = Field(
        default=0.05, ge=0, description="nats a dimension under which KL is free"
    )

    @model_validator(mode="before")
    @classmethod
    def _rename(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        renamed = {RENAMED[name]: value for name, value in values.items() if name in RENAMED}
        return renamed | {k: v for k, v in values.items() if k not in RENAMED}


class FitConfig(BaseModel):
    """All that decides how a run goes; the same settings and data give the same curve.

    Attributes:
        data: folder of the zips and csv lists.
        datasets: sets to use; all in the folder when empty.
        teacher: SFace's ONNX file.
        cache: where the teacher's embeddings are kept between runs.
        backbone: the trunk.
        start: ``sface`` begins with the teacher's weights (``mobile`` only), ``checkpoint`` with
            the encoder of ``init``, ``fresh`` with none.
        trunk: ``frozen`` leaves the trunk as it starts, ``tail`` trains its last ``tail`` blocks
            (``mobile`` only), ``trained`` all of it.
        margin_kind: which margin, where ``weights.margin`` is above 0; ``dul`` puts it on
            mu + eps·sigma, so that labels teach sigma, too.
        centre_pull: how far a person's target moves from the picture's own embedding to the mean
            of the person's other pictures, 0..1.
        reconstruction: error of the decoder's pixels, squared or cross-entropy.
        limit: use only this many training pictures (0 = all), chosen by the seed.
        steps: batches to train for.
        lr: of heads and decoder. lr_mu: of mu's dense layer (0 keeps it). lr_trunk: of a trained
            trunk.
        decode: share of each batch that the decoder reconstructs; it is the costly part on a CPU.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: Path
    teacher: Path
    cache: Path = Path("runs/cache")
    datasets: tuple[str, ...] = ()
    backbone: BackboneName = "mobile"
    start: Literal["sface", "checkpoint", "fresh"] = "sface"
    init: Path | None = None
    trunk: Literal["frozen", "tail", "trained"] = "frozen"
    tail: int = Field(default=5, ge=1)
    margin_kind: MarginKind = "cosface"
    centre_pull: float = Field(default=0.0, ge=0, le=1)
    dim: int = Field(default=LATENT_DIM, ge=2)
    reconstruction: Literal["mse", "bce"] = "mse"
    limit: int = Field(default=0, ge=0)
    held_out_percent: int = Field(default=4, ge=1, le=50)
    batch: int = Field(default=64, ge=2)
    steps: int = Field(default=2000, ge=1)
    lr: float = Field(default=2e-3, gt=0)
    lr_mu: float = Field(default=0.0, ge=0)
    lr_trunk: float = Field(default=1e-4, ge=0)
    weight_decay: float = Field(default=1e-4, ge=0)
    weights: LossWeights = LossWeights()
    decode: float = Field(default=0.25, gt=0, le=1)
    seed: int = 0
    log_every: int = Field(default=10, ge=1)
    save_every: int = Field(default=100, ge=1)
    validate_every: int = Field(default=200, ge=1)
    validation_pictures: int = Field(default=480, ge=2)
    workers: int = Field(default=1, ge=0)
    threads: int = Field(default=2, ge=1)
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    accelerator: Literal["auto", "cpu", "cuda"] = "auto"
    devices: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _check_start(self) -> Self:
        if (self.start == "checkpoint") != (self.init is not None):
            raise ValueError("start=checkpoint and init=CHECKPOINT belong together")
        return self
