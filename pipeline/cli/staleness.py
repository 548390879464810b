"""Whether the pipeline still asks for a plan."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from facestream.engines.cards import checksum
from facestream.engines.errors import BackendUnavailable
from facestream.engines.tensorrt.flavour import Flavour, FlavourName, find_flavour
from facestream.engines.tensorrt.manifest import Manifest
from facestream.engines.tensorrt.recipe import recipe_for

from ..recognition.planned import Planned


class Staleness:
    """Compares plans with what would be built now.

    Args:
        networks: what plans are built for, by name.
    """

    def __init__(self, networks: dict[str, Planned]) -> None:
        self._networks = networks
        self._checksums = {name: checksum(one.path) for name, one in networks.items()}
        self._flavours: dict[str, Flavour | None] = {}

    def reason(self, manifest: Manifest) -> str:
        """Why a plan is not asked for any more; empty where it is.

        Its precision, GPU and architecture are left out: which of them is asked for is a matter
        of the machine and its settings.
        """
        network = self._networks.get(manifest.network)
        if network is None:
            return "of a network that is not ours"
        parts = manifest.parts
        if parts.get("onnx_sha256") != self._checksums[manifest.network]:
            return "of another network file"
        flavour = self._flavour(str(parts.get("flavour")))
        if flavour is None:
            return f"{parts.get('flavour')} is not installed"
        if parts.get("version") != flavour.version:
            return f"of another version; {flavour.version} is here"
        return "" if self._same(manifest, network, flavour) else "of other shapes or settings"

    def _same(self, manifest: Manifest, network: Planned, flavour: Flavour) -> bool:
        parts = manifest.parts
        target = str(parts.get("target"))
        precision: Any = parts.get("precision")
        try:
            recipe = recipe_for(network.path, network.options, flavour=flavour, target=target)
            recipe = replace(recipe, precision=precision, gpu=str(parts.get("gpu")))
        except (BackendUnavailable, ValueError):
            return False
        now: dict[str, Any] = recipe.parts(self._checksums[manifest.network])
        return now == parts

    def _flavour(self, name: str) -> Flavour | None:
        if name not in self._flavours:
            try:
                known: FlavourName = "tensorrt" if name == "tensorrt" else "tensorrt_rtx"
                self._flavours[name] = find_flavour(known) if name == known else None
            except BackendUnavailable:
                self._flavours[name] = None
        return self._flavours[name]
