"""DUL: identity learned from a sample of the code, so that sigma grows where it does not matter.

Chang, Lan, Cheng and Wei, "Data Uncertainty Learning in Face Recognition", 2020.
"""

from __future__ import annotations

from torch import Tensor

from .latent import kl_loss
from .margin import cosface_logits, margin_loss


def dul_loss(
    sample: Tensor,
    mu: Tensor,
    logvar: Tensor,
    centres: Tensor,
    labels: Tensor,
    *,
    margin: float = 0.35,
    scale: float = 64.0,
    kl_weight: float = 0.01,
) -> Tensor:
    """Margin loss of mu + eps·sigma, and KL to a standard normal that keeps sigma from 0.

    Equations 3 to 5, with CosFace as the margin.

    Args:
        sample: N×D, mu + eps·sigma (``models.vae.reparameterise``), with its gradients.
        mu: N×D, of a length near √D (``identity.direction``), on which sigma's scale rests.
        logvar: N×D, log of sigma².
        centres: C×D.
        labels: N int64, 0..C−1.
        margin: taken off the own class's cosine.
        scale: of all cosines.
        kl_weight: lambda; the mean KL of a dimension counts.

    Raises:
        DataError: as ``margin.check_labels``.
    """
    logits = cosface_logits(sample, centres, labels, margin=margin, scale=scale)
    return margin_loss(logits, labels) + kl_weight * kl_loss(mu, logvar)
