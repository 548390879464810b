"""Settings of a generator's run; written beside every checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from ..fit.config import FitConfig
from ..models.appearance import APPEARANCE_DIM

Objective = Literal["vae", "vae-gan"]


class GeneratorWeights(BaseModel):
    """How much each loss counts; pictures are on −1..1."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    reconstruction: float = Field(default=1.0, ge=0, description="masked squared error")
    kl: float = Field(default=0.005, ge=0, description="KL of the appearance, a dimension's mean")
    kl_warm_up: int = Field(default=300, ge=0, description="steps over which the KL's weight rises")
    free_bits: float = Field(default=0.1, ge=0, description="nats a dimension free of the KL")
    perceptual: float = Field(default=0.03, ge=0, description="distance in the teacher's features")
    identity: float = Field(
        default=0.05, ge=0, description="1 − cosine of what was made to its identity"
    )
    adversarial: float = Field(default=0.01, ge=0, description="against the discriminator")
    features: float = Field(
        default=0.1, ge=0, description="distance in the discriminator's features (Larsen 2016)"
    )


class GeneratorConfig(BaseModel):
    """All that decides how a generator's run goes.

    Attributes:
        data, teacher, cache, datasets, limit, held_out_percent, validation_pictures: as for an
            encoder (``FitConfig``).
        objective: ``vae``, or ``vae-gan`` with a discriminator beside it.
        init: a generator's checkpoint whose weights are the start (its discriminator, too, where
            it has one).
        appearance: length of the appearance code.
        judged: pictures of a batch that the teacher judges, for the perceptual loss and, with
            the appearance of another picture, for the identity loss; 0 does without.
        rivals: pictures of a batch that the discriminator sees.
        judge_every: steps from one judgement to the next; its losses count as many times more.
        components: pictures whose principal components are the start of the linear parts; 0 starts
            from chance.
        holes: share of the pictures that are fed with a hole in them, 0..1.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: Path
    teacher: Path
    cache: Path = Path("runs/cache")
    datasets: tuple[str, ...] = ()
    limit: int = Field(default=0, ge=0)
    held_out_percent: int = Field(default=4, ge=1, le=50)
    validation_pictures: int = Field(default=64, ge=2)
    objective: Objective = "vae"
    init: Path | None = None
    appearance: int = Field(default=APPEARANCE_DIM, ge=2)
    batch: int = Field(default=32, ge=2)
    steps: int = Field(default=6000, ge=1)
    lr: float = Field(default=1.5e-3, gt=0)
    lr_discriminator: float = Field(default=2e-4, gt=0)
    judged: int = Field(default=3, ge=0)
    rivals: int = Field(default=8, ge=2)
    judge_every: int = Field(default=4, ge=1)
    components: int = Field(default=8000, ge=0)
    holes: float = Field(default=0.3, ge=0, le=1)
    weights: GeneratorWeights = GeneratorWeights()
    seed: int = 0
    log_every: int = Field(default=20, ge=1)
    save_every: int = Field(default=200, ge=1)
    validate_every: int = Field(default=500, ge=1)
    workers: int = Field(default=1, ge=0)
    threads: int = Field(default=2, ge=1)
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "bf16-mixed"
    accelerator: Literal["auto", "cpu", "cuda"] = "auto"
    devices: int = Field(default=1, ge=1)

    def as_fit(self) -> FitConfig:
        """What preparing the data and starting the device read, as an encoder's settings."""
        shared = set(FitConfig.model_fields) & set(GeneratorConfig.model_fields)
        shared -= {"weights", "init"}
        return FitConfig.model_validate({name: getattr(self, name) for name in shared})
