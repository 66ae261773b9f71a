"""A model is given by its folder or by the name of one that ships; a name is made on first use, and what is neither is told."""

from pathlib import Path

import pytest

from slimrank import manifest, store
from slimrank.errors import ConfigError, ModelSourceError
from slimrank.settings import DEFAULT_MODEL_NAME, Settings
from tests.command import slimrank
from tests.shipping import SHALLOW, Shipping


def settings(shipping: Shipping, **given: str) -> Settings:
    return Settings(home=shipping.home, **given)  # type: ignore[arg-type]  # as the environment gives them


def test_a_name_is_the_folder_of_the_home_that_is_made_of_it(shipping: Shipping) -> None:
    assert store.model_folder(settings(shipping, model=SHALLOW)) == shipping.shallow
    assert store.place_of(Path(SHALLOW), settings(shipping, provider="cuda")).name == f"{SHALLOW}-fp16"
    assert store.place_of(None, settings(shipping)).name == DEFAULT_MODEL_NAME


def test_a_folder_that_is_there_goes_before_a_name_and_the_default_is_never_a_folder(shipping: Shipping) -> None:
    for name in (SHALLOW, DEFAULT_MODEL_NAME):
        Path(name).mkdir()
        assert store.model_folder(settings(shipping, model=name)) == Path(name)
    assert store.place_of(None, settings(shipping)) == shipping.home / "models" / DEFAULT_MODEL_NAME
    Path(SHALLOW, "adapter_config.json").write_text("{}")  # as in the folder models/ of a checkout
    done = slimrank("rank", "--query", "q", "--model", SHALLOW, __file__)
    assert done.code == 2 and f"{SHALLOW} is not a model folder" in done.err and "it is an adapter" in done.err


@pytest.mark.parametrize(
    ("given", "cure"),
    [
        ("tiny-shalow", "or check the path"),
        ("models/nowhere", "`slimrank export models/nowhere --out models/nowhere` makes one of it"),
        (__file__, "or check the path"),
    ],
)
def test_a_name_that_is_neither_a_folder_nor_shipped_is_refused_with_the_known_names(
    shipping: Shipping, given: str, cure: str
) -> None:
    with pytest.raises(ConfigError) as told:
        store.model_folder(settings(shipping, model=given))
    said = str(told.value)
    assert said.startswith(f"asked for the model {given}, and there is no such folder, and no model of that name ships")
    assert f"name one of {DEFAULT_MODEL_NAME}, {SHALLOW}" in said and said.endswith(cure)


@pytest.mark.parametrize("given", [None, DEFAULT_MODEL_NAME, SHALLOW])
def test_a_model_that_cannot_be_made_here_names_what_is_missing(
    shipping: Shipping, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str | None
) -> None:
    monkeypatch.setattr(store, "find_spec", lambda name: None if name == "torch" else object())
    with pytest.raises(ModelSourceError, match=f"the model {given or DEFAULT_MODEL_NAME} is not at .* needs torch"):
        store.model_folder(Settings(home=tmp_path, model=given))  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_name_that_is_not_made_yet_is_pulled_on_first_use_and_only_then(shipping: Shipping, tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "base").mkdir(parents=True)
    (home / "base" / "smollm2-135m-instruct").symlink_to(shipping.home / "base" / "smollm2-135m-instruct")
    wanted = Settings(home=home, model=Path(SHALLOW))

    folder = store.model_folder(wanted)

    assert folder == home / "models" / SHALLOW
    assert (manifest.check(folder).name, manifest.read(folder).architecture.layers) == (SHALLOW, 1)
    assert [path.name for path in (home / "models").iterdir()] == [SHALLOW], "the default model was not asked for"
    made = (folder / manifest.MANIFEST_FILE).stat().st_mtime_ns
    assert (store.model_folder(wanted), (folder / manifest.MANIFEST_FILE).stat().st_mtime_ns) == (folder, made)


def test_a_name_that_could_not_be_made_says_which_command_tells_why(shipping: Shipping, tmp_path: Path) -> None:
    (tmp_path / "home").write_text("in the way")
    with pytest.raises(
        ModelSourceError, match=f"the model {SHALLOW} could not be made at .*; run `slimrank model pull {SHALLOW}`"
    ):
        store.model_folder(Settings(home=tmp_path / "home", model=Path(SHALLOW)))


def test_the_wheels_place_and_the_checkouts_are_looked_into() -> None:
    root = Path(store.__file__).parent.parent
    assert list(store.SHIPPED) == [root / "onnx_export" / "models", root / "models"]
    assert DEFAULT_MODEL_NAME in store.shipped_names()
