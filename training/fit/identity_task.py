"""The identity task: teaches the encoder who a face is, and how uncertain that is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Final

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn import functional as F

from ..data.training_views import Batch, Views, draw_batches
from ..losses.identity import cosine_distance, direction, heteroscedastic_nll
from ..losses.latent import annealed, kl_loss
from ..losses.margin import labelled_loss
from ..losses.reconstruction import masked_bce, masked_mse
from ..models.decoder import Decoder
from ..models.vae import Vae, VaeEncoder, reparameterise
from .config import FitConfig
from .guards import check_alive, check_finite, latent_health
from .optimise import parameter_groups, update
from .prepared import TrainingData
from .trunk import SplitTrunk, split_trunk
from .validate import HeldOut, prepare_held_out, validate

# Pictures degraded more than this do not take part in the margin loss: pressing an unreadable
# picture towards its person teaches noise (AdaFace, Kim et al. 2022).
MARGIN_LEVEL: Final = 0.5
# Longest gradient: a batch of unlucky views must not undo what the weights started with.
CLIP: Final = 5.0


class IdentityModule(nn.Module):
    """Encoder, decoder and the people's centres: what an identity run saves."""

    def __init__(self, model: Vae, centres: Tensor) -> None:
        super().__init__()
        self.encoder: VaeEncoder = model.encoder
        self.decoder: Decoder = model.decoder
        self.centres = nn.Parameter(centres)


@dataclass(slots=True, eq=False)
class _Encoded:
    """A batch after the encoder."""

    mu: Tensor
    logvar: Tensor
    target: Tensor


class IdentityTask:
    """Distillation to the teacher's clean embedding, a margin between people, and uncertainty.

    The target of a person's picture is its own clean embedding moved some way to the mean of the
    person's other pictures: what pose and light change should not count.
    """

    kind = "identity"

    def __init__(
        self, config: FitConfig, data: TrainingData, model: Vae, *, fabric: Fabric
    ) -> None:
        """
        Args:
            model: with the weights to start from; moved to the device.
        """
        self._config, self._data, self._fabric = config, data, fabric
        centres = data.person_centres() if config.weights.margin > 0 else np.zeros((0, config.dim))
        self._module = IdentityModule(model, torch.from_numpy(centres).float()).to(fabric.device)
        self._trunk: SplitTrunk = split_trunk(model.encoder.backbone, config, fabric.device)
        self._floor = data.target_floor()
        self._held: HeldOut = prepare_held_out(
            config.data, data.held, data.held_targets, self._trunk.front
        )
        groups = parameter_groups(model.encoder, model.decoder, self._trunk.tail, config)
        if len(centres):
            rate = config.lr_mu or config.lr
            groups.append({"params": [self._module.centres], "lr": rate, "base_lr": rate})
        self.optimizers: Mapping[str, torch.optim.Optimizer] = {
            "model": torch.optim.AdamW(groups, weight_decay=config.weight_decay)
        }
        self._set_mode()

    @property
    def module(self) -> nn.Module:
        """See ``Task``."""
        return self._module

    def calibrate(self) -> None:
        """Standardise the log-variance head's inputs to the held-out pictures (fresh weights)."""
        encoder = self._module.encoder
        statistics = []
        with torch.no_grad():
            for last, means in self._held.parts():
                last, means = self._tail(last, means)
                statistics.append(torch.cat([means, encoder.mu_head(last)], dim=1).float().cpu())
        encoder.logvar_head.calibrate(torch.cat(statistics))

    def batches(self, first: int) -> Iterator[Batch]:
        """See ``Task``."""
        config, fabric = self._config, self._fabric
        views = Views(
            config.data,
            self._data.train,
            self._data.train_targets,
            labels=self._data.labels,
            seed=config.seed,
        )
        shard = (fabric.global_rank, fabric.world_size)
        return draw_batches(views, len(views), config, first=first, shard=shard)

    def train_step(self, batch: Batch, step: int) -> dict[str, float]:
        """See ``Task``."""
        optimizer = self.optimizers["model"]
        optimizer.zero_grad(set_to_none=True)
        with self._fabric.autocast():
            loss, values = self._losses(batch, step)
        check_finite(values["loss"], step)
        self._fabric.backward(loss)
        values["gradient"] = update(self._fabric, optimizer, step, longest=CLIP)
        return values

    def validate(self) -> dict[str, float]:
        """See ``validate.validate``."""
        return validate(self._module.encoder, self._trunk.tail, self._held)

    def score(self, figures: Mapping[str, float]) -> float:
        """Verification, clean and degraded, and how well sigma follows the error."""
        return -(
            figures["tar_clean"] + figures["tar_degraded"] + 0.1 * figures["sigma_error"]
        )  # each in 0..1

    def _losses(self, batch: Batch, step: int) -> tuple[Tensor, dict[str, float]]:
        """The weighted loss of a batch and the figures to log."""
        weights = self._config.weights
        encoded = self._encode(batch)
        mu, logvar = encoded.mu, encoded.logvar
        losses = {
            "distil": cosine_distance(mu, encoded.target),
            "uncertainty": self._uncertainty(encoded, batch),
            "kl": kl_loss(mu, logvar, free_bits=weights.free_bits),
        }
        if weights.margin > 0:
            losses["margin"] = self._margin(mu, logvar, batch, step)
        if weights.reconstruction > 0:
            losses["reconstruction"] = self._reconstruct(mu, logvar, batch, step)
        factor = {
            "distil": weights.distil,
            "uncertainty": weights.uncertainty,
            "kl": annealed(weights.kl, step, weights.kl_warm_up),
            "margin": weights.margin,
            "reconstruction": weights.reconstruction,
        }
        total = torch.stack([factor[name] * loss for name, loss in losses.items()]).sum()
        health = latent_health(mu, logvar)
        check_alive(health, step, warm_up=max(50, weights.kl_warm_up))
        values = {name: float(loss.detach()) for name, loss in losses.items() if name != "kl"}
        return total, {
            "loss": float(total.detach()),
            **values,
            "kl_weight": factor["kl"],
            **asdict(health),
        }

    def _encode(self, batch: Batch) -> _Encoded:
        device, pull = self._fabric.device, self._config.centre_pull
        last, means = self._trunk(batch["faces"].to(device).float())
        mu, logvar = self._module.encoder.heads(last, means)
        target = F.normalize(batch["target"].to(device), dim=1)
        centre = F.normalize(batch["centre"].to(device), dim=1)
        share = pull * batch["has_centre"].to(device)[:, None]
        mixed = (1 - share) * target + share * centre
        return _Encoded(mu.float(), logvar.float(), mixed)

    def _uncertainty(self, encoded: _Encoded, batch: Batch) -> Tensor:
        """Sigma learns the distance of mu to the picture's and the person's embedding."""
        device = self._fabric.device
        seen = direction(encoded.mu.detach())
        own = direction(batch["target"].to(device))
        loss = heteroscedastic_nll(seen, encoded.logvar, own, floor=self._floor)
        known = batch["has_centre"].to(device)
        if float(known.sum()) > 0:
            person = direction(batch["centre"].to(device))
            loss = 0.5 * loss + 0.5 * heteroscedastic_nll(
                seen, encoded.logvar, person, weight=known
            )
        return loss

    def _margin(self, mu: Tensor, logvar: Tensor, batch: Batch, step: int) -> Tensor:
        config, device = self._config, self._fabric.device
        labels = batch["label"].to(device)
        use = (labels >= 0) & (batch["level"].to(device) <= MARGIN_LEVEL)
        if not bool(use.any()):
            return mu.sum() * 0.0
        noise = self._noise(mu, step)
        return labelled_loss(
            config.margin_kind,
            mu[use],
            logvar[use],
            self._module.centres,
            labels[use],
            noise=noise[use],
        )

    def _noise(self, like: Tensor, step: int) -> Tensor:
        """Standard normal, the same at this step of every run with this seed."""
        drawn = torch.Generator().manual_seed(self._config.seed * 1_000_003 + step)
        return torch.randn(like.shape, generator=drawn).to(like.device)

    def _reconstruct(self, mu: Tensor, logvar: Tensor, batch: Batch, step: int) -> Tensor:
        config, device = self._config, self._fabric.device
        few = max(2, round(config.decode * len(mu)))
        noise = self._noise(mu[:few], step)
        # Identity is the main thing: appearance may bend mu a little, not rule it.
        share = config.weights.reconstruction_to_mu
        code = share * mu[:few] + (1.0 - share) * mu[:few].detach()
        made = self._module.decoder(reparameterise(code, logvar[:few], noise))
        wanted = batch["clean"][:few].to(device).float() / 127.5 - 1.0
        loss = masked_mse if config.reconstruction == "mse" else masked_bce
        return loss(made.float(), wanted, batch["mask"][:few].to(device).float())

    def _tail(self, last: Tensor, means: Tensor) -> tuple[Tensor, Tensor]:
        device = self._fabric.device
        self._trunk.tail.eval()
        out: tuple[Tensor, Tensor] = self._trunk.tail(last.float().to(device), means.to(device))
        self._set_mode()
        return out

    def _set_mode(self) -> None:
        """Training mode, but for what must keep the statistics it started with."""
        self._module.train()
        if self._config.start != "fresh":
            self._module.encoder.backbone.eval()
            self._module.encoder.mu_head.eval()
