"""Where models lie on this machine, and which one is the default.

The default model is made on first use by running ``slimrank model pull`` as a process of its
own: making it needs torch, serving it must not, and the two meet on disk.
"""

import logging
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from slimrank.errors import ModelSourceError
from slimrank.manifest import MANIFEST_FILE
from slimrank.settings import DEFAULT_MODEL_NAME, Settings

log = logging.getLogger(__name__)

FOR_GPU = "-fp16"


MAKES = ("torch", "transformers", "onnx", "filelock")
"""What making a model imports and serving it does not."""


def default_model_folder(settings: Settings) -> Path:
    """Return where the default model lies, or will lie; one for a GPU lies beside the CPU's."""
    return settings.home_folder / "models" / (DEFAULT_MODEL_NAME + ("" if settings.provider == "cpu" else FOR_GPU))


def model_folder(settings: Settings) -> Path:
    """Return the folder of the model to use, pulling the default model where it is missing.

    Raises:
        ModelSourceError: the default model is missing and could not be made.
    """
    if settings.model is not None:
        return settings.model
    folder = default_model_folder(settings)
    if not (folder / MANIFEST_FILE).is_file():
        _check_can_make(folder)
        log.info("pull model=%s folder=%s", DEFAULT_MODEL_NAME, folder)
        command = [sys.executable, "-m", "slimrank", "model", "pull", "--home", str(settings.home_folder)]
        command += ["--provider", settings.provider]
        if subprocess.run(command, check=False).returncode != 0:
            raise ModelSourceError(f"the default model could not be made at {folder}; run `slimrank model pull` to see why")
    return folder


def _check_can_make(folder: Path) -> None:
    """Say in one line what is missing, before a process of its own would end over it."""
    missing = [name for name in MAKES if find_spec(name) is None]
    if missing:
        raise ModelSourceError(
            f"the default model is not at {folder} yet, and making it needs {', '.join(missing)}, not installed here;"
            " run: pip install 'slimrank[export,serve]', or name a model folder with --model"
        )
