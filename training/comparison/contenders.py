"""Who is compared, and the settings that all have in common."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from ..data.face_sets import STREAKED_SETS
from ..errors import DataError, TrainingError
from ..fit.config import FitConfig
from ..models.backbones import BackboneName
from ..models.vae import LATENT_DIM

Objective = Literal["vae", "vae-gan", "gan"]


@dataclass(frozen=True, slots=True)
class Contender:
    """One row of the table.

    Attributes:
        title: what the table calls it.
        objective: ``vae``; ``vae-gan``, with a discriminator beside it (Larsen et al. 2016); or
            ``gan``, a decoder and a discriminator without an encoder.
        backbone: the encoder's trunk; None without an encoder.
        start: ``sface`` begins with the teacher's weights and leaves its trunk as it is.
        lr: of encoder and decoder.
    """

    title: str
    objective: Objective
    backbone: BackboneName | None
    start: Literal["fresh", "sface"] = "fresh"
    lr: float = 1.5e-3


CONTENDERS: Final[dict[str, Contender]] = {
    "vae-conv": Contender("VAE, conv", "vae", "conv"),
    "vae-mobile": Contender("VAE, mobile", "vae", "mobile"),
    "vae-mobile-sface": Contender("VAE, mobile from SFace", "vae", "mobile", start="sface"),
    "vae-residual": Contender("VAE, residual", "vae", "residual"),
    "vae-vit": Contender("VAE, transformer", "vae", "vit", lr=5e-4),
    "vae-gan": Contender("VAE-GAN, conv", "vae-gan", "conv"),
    "gan": Contender("GAN", "gan", None, lr=4e-4),
}


class CompareConfig(BaseModel):
    """What all contenders have in common.

    Attributes:
        data, teacher, cache: as for ``fit``. Sets with repeated borders are left out: a
            discriminator would learn the streaks.
        lfw: folder of ``lfw_grey.zip`` and ``pairs.txt``; None leaves recognition out.
        contenders: names from ``CONTENDERS``.
        pictures: seen by each in training, the same ones in the same order.
        appearance: length of the code's second half; the first is the embedding.
        share: of the reconstruction's gradient that reaches the embedding.
        grey: share of each batch that the encoder sees without colour (LFW is grey here).
        adversarial, features: weights of the discriminator's verdict and of its features.
        samples: made for the Fréchet distance.
        faces: held-out faces to reconstruct.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: Path
    teacher: Path
    cache: Path = Path("runs/cache")
    lfw: Path | None = None
    contenders: tuple[str, ...] = tuple(CONTENDERS)
    pictures: int = Field(default=20_000, ge=2)
    batch: int = Field(default=32, ge=2)
    appearance: int = Field(default=128, ge=1)
    distil: float = Field(default=1.0, ge=0)
    kl: float = Field(default=0.005, ge=0)
    share: float = Field(default=0.02, ge=0, le=1)
    grey: float = Field(default=0.25, ge=0, le=1)
    adversarial: float = Field(default=0.01, ge=0)
    features: float = Field(default=0.1, ge=0)
    lr_discriminator: float = Field(default=2e-4, gt=0)
    samples: int = Field(default=2000, ge=2)
    faces: int = Field(default=192, ge=2)
    seed: int = 0
    workers: int = Field(default=1, ge=0)
    threads: int = Field(default=2, ge=1)
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "bf16-mixed"
    accelerator: Literal["auto", "cpu", "cuda"] = "auto"

    @property
    def steps(self) -> int:
        """SeededBatches that make up the budget."""
        return max(1, self.pictures // self.batch)

    @property
    def dim(self) -> int:
        """Length of the whole code."""
        return LATENT_DIM + self.appearance

    def as_fit(self, contender: Contender) -> FitConfig:
        """What data, device and trunk are prepared by.

        Raises:
            DataError: no set without repeated borders.
        """
        sets = tuple(
            sorted(
                p.stem
                for p in self.data.glob("*.csv")
                if p.stem not in STREAKED_SETS and p.with_suffix(".zip").is_file()
            )
        )
        if not sets:
            raise DataError(f"no training faces in {self.data}: it needs <set>.zip with <set>.csv")
        return FitConfig(
            data=self.data,
            teacher=self.teacher,
            cache=self.cache,
            datasets=sets,
            backbone=contender.backbone or "conv",
            start=contender.start,
            trunk="trained" if contender.start == "fresh" else "frozen",
            dim=self.dim,
            batch=self.batch,
            steps=self.steps,
            validation_pictures=100_000,
            seed=self.seed,
            workers=self.workers,
            threads=self.threads,
            precision=self.precision,
            accelerator=self.accelerator,
        )


def chosen(config: CompareConfig) -> dict[str, Contender]:
    """The contenders asked for, in their order.

    Raises:
        TrainingError: a name that is none, or no name.
    """
    for name in config.contenders:
        if name not in CONTENDERS:
            raise TrainingError(
                f"no contender is called '{name}'; choose from {', '.join(CONTENDERS)}"
            )
    if not config.contenders:
        raise TrainingError(f"name contenders to compare: {', '.join(CONTENDERS)}")
    return {name: CONTENDERS[name] for name in dict.fromkeys(config.contenders)}
