"""The generator's task: a VAE whose identity half is given, alone or against a discriminator."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from ..data.training_views import draw_batches
from ..fit.adversary import adversarial_losses, train_discriminator
from ..fit.guards import check_finite
from ..fit.optimise import update
from ..fit.prepared import TrainingData
from ..losses.identity import direction
from ..losses.latent import annealed, kl_loss, kl_per_dimension
from ..losses.reconstruction import masked_mse
from ..models.appearance import FaceGenerator, with_holes
from ..models.discriminator import Discriminator
from ..models.vae import reparameterise
from .generator_config import GeneratorConfig
from .generator_validation import HeldOutFaces, prepare_held_out, save_grid, validate
from .generator_views import GeneratorBatch, GeneratorViews
from .judge import Judge

CLIP: Final = 1.0


class GeneratorModule(nn.Module):
    """What a generator's run saves."""

    def __init__(self, generator: FaceGenerator, discriminator: Discriminator | None) -> None:
        super().__init__()
        self.generator = generator
        self.discriminator = discriminator


@dataclass(slots=True, eq=False)
class _Made:
    """A batch after the decoder.

    Attributes:
        picture: N×3×112×112, −1..1, what was to be made.
        mask: N×1×112×112.
        made: N reconstructions. swapped: the first K identities with others' appearance.
        mu, logvar: of the appearance, N×A.
        target: N×D.
    """

    picture: Tensor
    mask: Tensor
    made: Tensor
    swapped: Tensor
    mu: Tensor
    logvar: Tensor
    target: Tensor

    def shown(self) -> Tensor:
        """The reconstructions, with the picture's own pixels where those do not count.

        A judge then sees the same borders on both sides.
        """
        return torch.where(self.mask > 0, self.made, self.picture)

    def judged(self, count: int) -> Tensor:
        """The first reconstructions, and the swapped faces: what the discriminator sees."""
        return torch.cat([self.shown()[:count], self.swapped])


class GeneratorTask:
    """Reconstruction, KL, the teacher's judgement of identity, and perhaps a discriminator."""

    def __init__(
        self, config: GeneratorConfig, data: TrainingData, *, fabric: Fabric, out: Path
    ) -> None:
        """
        Args:
            out: where grids of validation pictures go.
        """
        self._config, self._data, self._fabric, self._out = config, data, fabric, out
        self.kind = "generator" if config.objective == "vae" else "generator-gan"
        rival = Discriminator() if config.objective == "vae-gan" else None
        identity = data.train_targets.shape[1]
        generator = FaceGenerator(identity=identity, appearance=config.appearance)
        self.module = GeneratorModule(generator, rival)
        self.module.to(fabric.device)
        for parameter in self.module.parameters():
            if parameter.ndim == 4:  # a third faster on a CPU
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
        optimizers: dict[str, torch.optim.Optimizer] = {
            "generator": _adam(_rates(generator, config.lr), beta=0.9 if rival is None else 0.5)
        }
        if rival is not None:
            optimizers["discriminator"] = _adam(
                [([*rival.parameters()], config.lr_discriminator)], beta=0.5
            )
        self.optimizers: Mapping[str, torch.optim.Optimizer] = optimizers
        self._judge: Judge | None = None
        if config.judged > 0:
            self._judge = Judge(config.teacher, fabric.device)
        self._held: HeldOutFaces = prepare_held_out(config.data, data.held, data.held_targets)
        self._judged: dict[str, float] = {}  # the judge's latest figures
        self._validations = 0
        self.module.train()

    def batches(self, first: int) -> Iterator[GeneratorBatch]:
        """See ``Task``."""
        config, fabric = self._config, self._fabric
        views = GeneratorViews(
            config.data,
            self._data.train,
            self._data.train_targets,
            holes=config.holes,
            seed=config.seed,
        )
        shard = (fabric.global_rank, fabric.world_size)
        return draw_batches(views, len(views), config, first=first, shard=shard)

    def train_step(self, batch: GeneratorBatch, step: int) -> dict[str, float]:
        """See ``Task``."""
        optimizer = self.optimizers["generator"]
        optimizer.zero_grad(set_to_none=True)
        with self._fabric.autocast():
            seen = self._make(batch, step)
            loss, values = self._losses(seen, step)
        check_finite(values["loss"], step)
        self._fabric.backward(loss)
        values["gradient"] = update(self._fabric, optimizer, step, longest=CLIP)
        if self.module.discriminator is not None:
            half = min(len(seen.made), self._config.rivals)
            values |= train_discriminator(
                self._fabric,
                self.module.discriminator,
                self.optimizers["discriminator"],
                seen.picture[:half],
                seen.judged(half),
                step,
                longest=CLIP,
            )
        return values

    def validate(self) -> dict[str, float]:
        """See ``validate.validate``; also saves a grid of pictures."""
        generator = self.module.generator
        figures, pictures = validate(generator, self._judge, self._held)
        if self._fabric.is_global_zero:
            save_grid(self._out / f"grid_{self._validations:03d}.png", pictures)
        self._validations += 1
        self.module.train()
        return figures

    def score(self, figures: Mapping[str, float]) -> float:
        """See ``Task``: error of the pixels, and of who the face is."""
        error = float(figures["mse"])
        # A GAN's pictures are better than their squared error suggests, so the last one counts.
        return -float(self._validations) if self.module.discriminator is not None else error

    def _make(self, batch: GeneratorBatch, step: int) -> _Made:
        device, config = self._fabric.device, self._config
        generator = self.module.generator
        picture = (batch["picture"].to(device).float() / 127.5 - 1.0).contiguous(
            memory_format=torch.channels_last
        )
        mask = batch["mask"].to(device)
        # Whole pictures first: those are what the teacher and the discriminator see.
        order = torch.argsort(mask.flatten(1).min(dim=1).values, descending=True, stable=True)
        picture, mask = picture[order], mask[order]
        known = batch["known"].to(device)[order].float()
        target = batch["target"].to(device)[order]
        spread = batch["noise"].to(device)[order][:, None]
        chance = torch.Generator().manual_seed(config.seed * 1_000_003 + step)
        noise = torch.randn(target.shape, generator=chance).to(device)
        identity = direction(target) + spread * noise
        mu, logvar = generator.appearance(with_holes(picture, known), identity)
        mu, logvar = mu.float(), logvar.float()
        noise = torch.randn(mu.shape, generator=chance).to(device)
        appearance = reparameterise(mu, logvar, noise)
        few = min(config.judged, len(mu)) if step % config.judge_every == 0 else 0
        # Another picture's appearance on these identities: who it is must not hang on the rest.
        other = appearance.roll(1, dims=0)[:few]
        made = generator.decode(
            torch.cat([identity, direction(target[:few])]), torch.cat([appearance, other])
        )
        return _Made(
            picture=picture,
            mask=mask,
            made=made[: len(mu)],
            swapped=made[len(mu) :],
            mu=mu,
            logvar=logvar,
            target=target,
        )

    def _losses(self, seen: _Made, step: int) -> tuple[Tensor, dict[str, float]]:
        weights = self._config.weights
        mse = masked_mse(seen.made.float(), seen.picture, seen.mask)
        kl = kl_loss(seen.mu, seen.logvar, free_bits=weights.free_bits)
        total = weights.reconstruction * mse + annealed(weights.kl, step, weights.kl_warm_up) * kl
        values = {"mse": float(mse.detach()), **_latent_figures(seen)}
        if self._judge is not None and len(seen.swapped):
            judged, self._judged = self._judge_faces(self._judge, seen)
            total = total + self._config.judge_every * judged
        values |= self._judged
        if self.module.discriminator is not None:
            half = min(len(seen.made), self._config.rivals)
            adversarial, features = adversarial_losses(
                self.module.discriminator, seen.judged(half), seen.picture, paired=half
            )
            total = total + weights.adversarial * adversarial + weights.features * features
            values |= {"fooled": float(adversarial.detach()), "features": float(features.detach())}
        return total, {"loss": float(total.detach()), **values}

    def _judge_faces(self, judge: Judge, seen: _Made) -> tuple[Tensor, dict[str, float]]:
        """The teacher's losses: of reconstructions, and of identities with another appearance."""
        weights, few = self._config.weights, len(seen.swapped)
        share = torch.tensor([[weights.identity, weights.perceptual], [weights.identity, 0.0]])
        found = judge(
            torch.cat([seen.shown()[:few], seen.swapped]),
            seen.picture[:few].repeat(2, 1, 1, 1),
            seen.target[:few].repeat(2, 1),
        )
        total = found.weighted(share.to(seen.mu.device).repeat_interleave(few, dim=0))
        identity = found.identity.detach()
        return total, {
            "perceptual": float(found.perceptual[:few].detach().mean()),
            "identity": float(identity[:few].mean()),
            "identity_swapped": float(identity[few:].mean()),
        }


def _rates(generator: FaceGenerator, rate: float) -> list[tuple[list[nn.Parameter], float]]:
    """Parameters and their rates.

    Adam moves each weight by about its rate, whatever its size: a sum over thousands of inputs
    that starts from components would be thrown far off by steps that suit a convolution.
    """
    encoder, decoder = generator.appearance, generator.decoder
    slower = [([*encoder.linear.parameters()], 0.01), ([*encoder.dense.parameters()], 0.1)]
    if decoder.linear is not None:
        slower.append(([*decoder.linear.parameters()], 0.1))
    taken = {id(p) for group, _ in slower for p in group}
    rest = [p for p in generator.parameters() if id(p) not in taken]
    return [(rest, rate), *((group, rate * factor) for group, factor in slower)]


def _adam(groups: list[tuple[list[nn.Parameter], float]], *, beta: float) -> torch.optim.Optimizer:
    return torch.optim.AdamW(
        [{"params": params, "lr": rate, "base_lr": rate} for params, rate in groups],
        betas=(beta, 0.99),
        weight_decay=0.0,
    )


def _latent_figures(seen: _Made) -> dict[str, float]:
    mu, logvar = seen.mu.detach(), seen.logvar.detach()
    each = kl_per_dimension(mu, logvar).mean(dim=0)
    return {
        "kl": float(each.mean()),
        "active": float((each > 0.05).float().mean()),
        "sigma_mean": float((0.5 * logvar.mean()).exp()),
    }
