"""How a contender is trained: a VAE, a VAE against a discriminator, or a plain GAN."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn

from ..data.training_views import draw_batches
from ..fit.adversary import adversarial_losses, train_discriminator
from ..fit.guards import check_finite
from ..fit.optimise import update
from ..fit.prepared import TrainingData
from ..fit.trunk import SplitTrunk, split_trunk
from ..generation.generator_views import GeneratorBatch, GeneratorViews
from ..losses.adversarial import generator_bce
from ..losses.identity import cosine_distance
from ..losses.latent import annealed, kl_loss
from ..losses.reconstruction import masked_mse
from ..models.discriminator import Discriminator
from ..models.vae import LATENT_DIM, VaeEncoder, reparameterise
from .contenders import CompareConfig, Contender
from .networks import ContenderModule, without_colour

CLIP: Final = 5.0


class ContenderTask:
    """What all contenders share: batches, rates, the discriminator's turn."""

    def __init__(
        self,
        config: CompareConfig,
        contender: Contender,
        data: TrainingData,
        *,
        fabric: Fabric,
        held: NDArray[np.uint8],
    ) -> None:
        """
        Args:
            held: M×112×112×3 RGB, faces of people that are not trained on.
        """
        self._config, self._contender, self._data, self._fabric = config, contender, data, fabric
        self._held = torch.from_numpy(held.transpose(0, 3, 1, 2).copy())
        self.kind = f"compare-{contender.objective}"
        self.module = ContenderModule(contender, dim=config.dim, teacher=config.teacher)
        self.module.to(fabric.device)
        # Dense convolutions run up to twice as fast with the channels last.
        nn.utils.convert_conv2d_weight_memory_format(self.module, torch.channels_last)
        self.optimizers: Mapping[str, torch.optim.Optimizer] = self._optimizers()

    def batches(self, first: int) -> Iterator[GeneratorBatch]:
        """See ``Task``; the same for every contender."""
        config, data = self._config, self._data
        views = GeneratorViews(
            config.data, data.train, data.train_targets, holes=0.0, seed=config.seed
        )
        return draw_batches(views, len(views), config, first=first)

    def train_step(self, batch: Any, step: int) -> dict[str, float]:
        """See ``Task``."""
        raise NotImplementedError

    def validate(self) -> dict[str, float]:
        """Nothing by itself; contenders are measured when they are done."""
        return {}

    def score(self, figures: Mapping[str, float]) -> float:
        """See ``Task``: the last one counts."""
        return 0.0

    def _optimizers(self) -> dict[str, torch.optim.Optimizer]:
        rate, rival = self._contender.lr, self.module.discriminator
        beta = 0.9 if rival is None else 0.5  # a moving opponent: less momentum (DCGAN, 2016)
        groups = [{"params": [*self.module.decoder.parameters()], "lr": rate, "base_lr": rate}]
        encoder = self.module.encoder
        if encoder is not None:
            groups.append({"params": [*encoder.logvar_head.parameters()], "lr": rate})
            # SFace's own embedding is only to be kept; a fresh one has all to learn.
            kept = self._contender.start == "sface"
            mu = 0.1 * rate if kept else rate
            groups.append({"params": [*encoder.mu_head.parameters()], "lr": mu})
            encoder.backbone.requires_grad_(not kept)
            if not kept:
                groups.append({"params": [*encoder.backbone.parameters()], "lr": rate})
        for group in groups:
            group["base_lr"] = group["lr"]
        made: dict[str, torch.optim.Optimizer] = {
            "main": torch.optim.AdamW(groups, betas=(beta, 0.99), weight_decay=1e-4)
        }
        if rival is not None:
            slow = self._config.lr_discriminator
            group = {"params": [*rival.parameters()], "lr": slow, "base_lr": slow}
            made["discriminator"] = torch.optim.AdamW([group], betas=(0.5, 0.99))
        return made

    def _picture(self, batch: GeneratorBatch) -> Tensor:
        """N×3×112×112 RGB 0..255."""
        return (
            batch["picture"]
            .to(self._fabric.device)
            .float()
            .contiguous(memory_format=torch.channels_last)
        )

    def _chance(self, step: int) -> torch.Generator:
        return torch.Generator().manual_seed(self._config.seed * 1_000_003 + step)

    def _sample(self, count: int, chance: torch.Generator) -> Tensor:
        """Codes from the prior, N×D."""
        return torch.randn(count, self._config.dim, generator=chance).to(self._fabric.device)

    def _update(self, name: str, loss: Tensor, step: int) -> None:
        check_finite(float(loss.detach()), step)
        self._fabric.backward(loss)
        update(self._fabric, self.optimizers[name], step, longest=CLIP)

    def _train_rival(self, rival: Discriminator, real: Tensor, made: Tensor, step: int) -> float:
        """The discriminator's step; the share that it classifies right, 0..1."""
        optimizer = self.optimizers["discriminator"]
        figures = train_discriminator(
            self._fabric, rival, optimizer, real, made, step, longest=CLIP
        )
        return figures["caught"]


class VaeTask(ContenderTask):
    """Reconstruction, KL and the teacher's embedding; with a discriminator it is a VAE-GAN."""

    def __init__(
        self,
        config: CompareConfig,
        contender: Contender,
        data: TrainingData,
        *,
        fabric: Fabric,
        held: NDArray[np.uint8],
    ) -> None:
        super().__init__(config, contender, data, fabric=fabric, held=held)
        if self.module.encoder is None:
            raise ValueError("a VAE needs a backbone")
        self._encoder: VaeEncoder = self.module.encoder
        self._trunk: SplitTrunk = split_trunk(
            self._encoder.backbone, config.as_fit(contender), fabric.device
        )
        self._set_mode()

    def calibrate(self) -> None:
        """Standardise the log-variance head's inputs to held-out faces (fresh weights)."""
        self.module.eval()
        with torch.no_grad():
            last, means = self._trunk(self._held[:64].to(self._fabric.device).float())
            mu = self._encoder.mu_head(last.float())
        self._encoder.logvar_head.calibrate(torch.cat([means.float(), mu], dim=1))
        self._set_mode()

    def train_step(self, batch: GeneratorBatch, step: int) -> dict[str, float]:
        """See ``Task``."""
        config = self._config
        faces = self._picture(batch)
        picture = faces / 127.5 - 1.0
        target = batch["target"].to(self._fabric.device)
        chance = self._chance(step)
        self.optimizers["main"].zero_grad(set_to_none=True)
        with self._fabric.autocast():
            last, means = self._trunk(without_colour(faces, round(config.grey * len(faces))))
            mu, logvar = (t.float() for t in self._encoder.heads(last, means))
            noise = self._sample(len(mu), chance)
            made = self.module.decoder(reparameterise(self._loosened(mu), logvar, noise)).float()
            mse = masked_mse(made, picture, torch.ones_like(picture[:, :1]))
            distil = cosine_distance(mu[:, :LATENT_DIM], target)
            kl = kl_loss(mu, logvar)
            weight = annealed(config.kl, step, max(1, config.steps // 5))
            loss = mse + config.distil * distil + weight * kl
            values = {"mse": mse, "distil": distil, "kl": kl}
            rival = self.module.discriminator
            if rival is not None:
                drawn = self.module.decoder(self._sample(len(mu) // 2, chance)).float()
                half = len(drawn)
                shown = torch.cat([made[:half], drawn])
                fooled, features = adversarial_losses(rival, shown, picture, paired=half)
                loss = loss + config.adversarial * fooled + config.features * features
                values |= {"fooled": fooled, "features": features}
        self._update("main", loss, step)
        figures = {name: float(value.detach()) for name, value in values.items()}
        if rival is not None:
            fake = torch.cat([made[: len(mu) // 2], drawn])
            figures["caught"] = self._train_rival(rival, picture[: len(fake)], fake, step)
        return {"loss": float(loss.detach()), **figures}

    def validate(self) -> dict[str, float]:
        """``mse`` (−1..1) of the held-out faces' reconstruction from mu, ``kl`` in nats."""
        self.module.eval()
        with torch.no_grad():
            faces = self._held[:64].to(self._fabric.device).float()
            mu, logvar = self._encoder.heads(*self._trunk(faces))
            made = self.module.decoder(mu)
            mse = (made - (faces / 127.5 - 1.0)).square().mean()
            figures = {"mse": float(mse), "kl": float(kl_loss(mu, logvar))}
        self._set_mode()
        return figures

    def _loosened(self, mu: Tensor) -> Tensor:
        """The code that the decoder sees: its gradient bends the embedding only a little."""
        share = self._config.share
        identity = mu[:, :LATENT_DIM]
        identity = share * identity + (1.0 - share) * identity.detach()
        return torch.cat([identity, mu[:, LATENT_DIM:]], dim=1)

    def _set_mode(self) -> None:
        self.module.train()
        if self._contender.start == "sface":
            self._encoder.backbone.eval()
            self._encoder.mu_head.norm_in.eval()


class GanTask(ContenderTask):
    """A decoder that makes faces from chance, against a discriminator (Goodfellow et al. 2014)."""

    def train_step(self, batch: GeneratorBatch, step: int) -> dict[str, float]:
        """See ``Task``."""
        rival = self.module.discriminator
        if rival is None:
            raise ValueError("a GAN needs a discriminator")
        picture = self._picture(batch) / 127.5 - 1.0
        self.optimizers["main"].zero_grad(set_to_none=True)
        rival.requires_grad_(False)
        with self._fabric.autocast():
            made = self.module.decoder(self._sample(len(picture), self._chance(step)))
            loss = generator_bce(rival(made)[0].float())
        self._update("main", loss, step)
        rival.requires_grad_(True)
        caught = self._train_rival(rival, picture, made, step)
        return {"loss": float(loss.detach()), "caught": caught}


def make_task(
    config: CompareConfig,
    contender: Contender,
    data: TrainingData,
    *,
    fabric: Fabric,
    held: NDArray[np.uint8],
) -> VaeTask | GanTask:
    """The task that trains a contender."""
    if contender.objective == "gan":
        return GanTask(config, contender, data, fabric=fabric, held=held)
    return VaeTask(config, contender, data, fabric=fabric, held=held)
