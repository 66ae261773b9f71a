"""Which model gave an answer, and what its scores mean: name, calibration, fusion weight and hashes.

A model folder's manifest says it. It goes with the loaded model and with every answer, and is written in two forms: flat in the
messages of the queue, as ``meta`` in the answers of the gateway. Both forms are written and read here and nowhere else.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from slimrank.manifest import Calibration, Manifest

NO_CALIBRATION = Calibration()


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """The identity of one model folder; of a cascade, that of its full model."""

    name: str
    calibration: Calibration = NO_CALIBRATION
    """From score to probability."""
    fusion_weight: float = 0.0
    """How much the first-stage ranks weigh where a request gives them (``slimrank.fusion``)."""
    model_sha256: str = ""
    """The hash of the model folder (``Manifest.digest``); "" where a scorer has no folder."""
    prompt_sha256: str = ""

    @classmethod
    def of(cls, manifest: Manifest) -> "ModelIdentity":
        """Return the identity that a model folder's manifest gives."""
        weight = manifest.fusion.weight if manifest.fusion else 0.0
        return cls(manifest.name, manifest.calibration, weight, manifest.digest(), manifest.prompt_sha256)

    def hashes(self) -> dict[str, str]:
        """Return the name and the known hashes: they say which model it was, where a result is kept."""
        known = {"model": self.name, "model_sha256": self.model_sha256, "prompt_sha256": self.prompt_sha256}
        return {name: value for name, value in known.items() if value}

    def message(self) -> dict[str, Any]:
        """Return the form in a worker's answer. Gateways of older releases read it too, so names and places stay."""
        return {
            "model": self.name,
            "scale": self.calibration.scale,
            "offset": self.calibration.offset,
            "fusion_weight": self.fusion_weight,
            "model_sha256": self.model_sha256,
            "prompt_sha256": self.prompt_sha256,
        }

    @classmethod
    def from_message(cls, fields: Mapping[str, Any]) -> "ModelIdentity":
        """Read a worker's answer; a worker of an older release sends neither weight nor hashes.

        Raises:
            KeyError, TypeError, ValueError: these are not the fields of a worker's answer.
        """
        return cls(
            fields["model"],
            Calibration(scale=fields["scale"], offset=fields["offset"]),
            fields.get("fusion_weight", 0.0),
            fields.get("model_sha256", ""),
            fields.get("prompt_sha256", ""),
        )

    def meta(self) -> dict[str, Any]:
        """Return the form in ``meta`` of a gateway's answer. A caller of raw scores finds there what makes probabilities of them."""
        return self.hashes() | {
            "model": self.name,
            "calibration": {"scale": self.calibration.scale, "offset": self.calibration.offset},
            "fusion_weight": float(self.fusion_weight),
        }

    @classmethod
    def from_meta(cls, meta: Mapping[str, Any]) -> "ModelIdentity":
        """Read ``meta`` of a gateway's answer; another server's answer may lack any of it.

        Raises:
            TypeError, ValueError: a value is of another kind.
        """
        given = meta.get("calibration") or {}
        return cls(
            str(meta.get("model", "")),
            Calibration(scale=given.get("scale", 1.0), offset=given.get("offset", 0.0)),
            float(meta.get("fusion_weight", 0.0)),
            str(meta.get("model_sha256", "")),
            str(meta.get("prompt_sha256", "")),
        )
