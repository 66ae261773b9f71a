"""Find models: those on this machine, those that ship with slimrank, and the default one.

A model is given by its folder or by the name of one that ships. A shipped one is made on first use by running
``slimrank model pull`` as a process of its own: making it needs torch, serving it must not, and the two meet on disk.
"""

import logging
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from slimrank import manifest
from slimrank.adapters import ADAPTER_HASH_KEY, adapter_hash
from slimrank.errors import ConfigError, ModelSourceError
from slimrank.manifest import ADAPTER_FILE, MANIFEST_FILE, how_to_make
from slimrank.settings import DEFAULT_MODEL_NAME, Settings

log = logging.getLogger(__name__)

FOR_GPU = "-fp16"

_ROOT = Path(__file__).parent.parent
SHIPPED = (_ROOT / "onnx_export" / "models", _ROOT / "models")
"""The folders of the shipped adapters: in an installed wheel, and in a checkout."""

MAKES = ("torch", "transformers", "onnx", "filelock")
"""The packages that making a model needs and serving it does not."""


def shipped_names() -> list[str]:
    """Return the names of the models that ship: those of the folders that hold their adapters."""
    return sorted({path.parent.name for folder in SHIPPED for path in folder.glob(f"[!.]*/{ADAPTER_FILE}")})


def shipped_adapter(name: str) -> Path:
    """Return the adapter of a model that ships.

    Raises:
        ConfigError: no model of that name ships.
        ModelSourceError: the default model's adapter is missing, so this installation is not whole.
    """
    if name in shipped_names():
        return next(folder / name for folder in SHIPPED if (folder / name / ADAPTER_FILE).is_file())
    if name == DEFAULT_MODEL_NAME:
        raise ModelSourceError(
            f"this installation lacks the adapter models/{name}; install slimrank again, or use a whole checkout"
        )
    raise ConfigError(f"asked for the model {name}, and no model of that name ships; name one of {_names()}")


def shipped_folder(settings: Settings, name: str = DEFAULT_MODEL_NAME) -> Path:
    """Return where a shipped model lies once it is made; one for a GPU lies beside the CPU's."""
    return settings.home_folder / "models" / (name + ("" if settings.provider == "cpu" else FOR_GPU))


def place_of(given: Path | None, settings: Settings) -> Path:
    """Return where a model lies, or will lie, that is given by its folder or by its name; None is the default model.

    A folder that is there goes before a model of the same name.

    Raises:
        ConfigError: it is neither.
    """
    if given is None:
        return shipped_folder(settings)
    if given.is_dir():
        return given
    if str(given) in {*shipped_names(), DEFAULT_MODEL_NAME}:
        return shipped_folder(settings, str(given))
    raise ConfigError(
        f"asked for the model {given}, and there is no such folder, and no model of that name ships;"
        f" name one of {_names()}, or {how_to_make(given)}"
    )


def not_made(given: Path | None, settings: Settings) -> str | None:
    """Return the name of the model that is given as for ``place_of``, where it is a shipped one and not made yet."""
    folder = place_of(given, settings)
    if folder == given or (folder / MANIFEST_FILE).is_file():
        return None
    return DEFAULT_MODEL_NAME if given is None else str(given)


def folder_of(given: Path | None, settings: Settings) -> Path:
    """Return the folder of a model that is given as for ``place_of``, making a shipped one where it is missing.

    Raises:
        ConfigError: it is neither a folder nor a name.
        ModelSourceError: a shipped model is missing and could not be made.
    """
    folder = place_of(given, settings)
    if name := not_made(given, settings):
        _make(name, folder, settings)
    elif folder != given:
        _warn_of_another_adapter(folder, DEFAULT_MODEL_NAME if given is None else str(given))
    return folder


def model_folder(settings: Settings) -> Path:
    """Return the folder of the model that the settings name, as ``folder_of`` does."""
    return folder_of(settings.model, settings)


def _names() -> str:
    return ", ".join(shipped_names() or [DEFAULT_MODEL_NAME])


def _make(name: str, folder: Path, settings: Settings) -> None:
    """Make a shipped model in a process of its own."""
    _check_can_make(name, folder)
    log.info("pull model=%s folder=%s", name, folder)
    command = [sys.executable, "-m", "slimrank", "model", "pull", name, "--home", str(settings.home_folder)]
    command += ["--provider", settings.provider]
    if subprocess.run(command, check=False).returncode != 0:
        raise ModelSourceError(f"the model {name} could not be made at {folder}; run `slimrank model pull {name}` to see why")


def _warn_of_another_adapter(folder: Path, name: str) -> None:
    """Log that a shipped model was made before an upgrade, which it outlives until it is made again."""
    if name not in shipped_names():  # an image can hold the model alone
        return
    found = manifest.read(folder).made_with.get(ADAPTER_HASH_KEY)
    if found is not None and found != adapter_hash(shipped_adapter(name)):
        log.warning(
            "the model %s at %s was made with another adapter than this release ships; `slimrank model pull %s` makes it again",
            *(name, folder, name),
        )


def _check_can_make(name: str, folder: Path) -> None:
    """Say in one line what is missing, before a process of its own would end over it."""
    missing = [package for package in MAKES if find_spec(package) is None]
    if missing:
        raise ModelSourceError(
            f"the model {name} is not at {folder} yet, and making it needs {', '.join(missing)}, not installed here;"
            " run: pip install 'slimrank[export,serve]', or name a model folder with --model"
        )
