"""The contenders' networks: trunk, heads, decoder and discriminator put together."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from ..models.backbones import make_backbone
from ..models.decoder import Decoder
from ..models.discriminator import Discriminator
from ..models.sface import load_sface
from ..models.vae import LATENT_DIM, VaeEncoder
from .contenders import Contender


class ContenderModule(nn.Module):
    """All that a contender trains; what it has no use for is None.

    The code is [embedding 128 | appearance]: mu's first half is taught who the face is, the second
    is free for the decoder.
    """

    def __init__(self, contender: Contender, *, dim: int, teacher: Path) -> None:
        super().__init__()
        self.dim = dim
        self.encoder: VaeEncoder | None = None
        if contender.backbone is not None:
            self.encoder = VaeEncoder(make_backbone(contender.backbone), dim=dim)
            if contender.start == "sface":
                start_from_sface(self.encoder, teacher)
        self.decoder = Decoder(dim=dim)
        self.discriminator = None if contender.objective == "vae" else Discriminator()


@torch.no_grad()
def start_from_sface(encoder: VaeEncoder, teacher: Path) -> None:
    """SFace's trunk, and its embedding as the first dimensions of mu.

    Raises:
        TrainingError: another trunk, or a file that is not SFace.
    """
    whole = VaeEncoder(encoder.backbone, dim=LATENT_DIM)
    load_sface(whole, teacher)
    ours, theirs = encoder.mu_head, whole.mu_head
    ours.norm_in.load_state_dict(theirs.norm_in.state_dict())
    state = ours.state_dict()
    for name, value in theirs.state_dict().items():
        if name.startswith(("dense.", "norm_out.")) and value.ndim > 0:
            state[name][:LATENT_DIM] = value
    ours.load_state_dict(state)


def without_colour(faces: Tensor, count: int) -> Tensor:
    """The faces (N×3×H×W RGB), the first ``count`` of them in grey (ITU-R BT.601)."""
    weights = faces.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    grey = (faces[:count] * weights).sum(dim=1, keepdim=True).expand(-1, 3, -1, -1)
    return torch.cat([grey, faces[count:]])
