"""Commands of the export stage: ``slimrank model pull``, ``slimrank export``, ``slimrank verify``.

Progress goes to standard error, so that ``--json`` leaves one JSON object on standard output.
The heavy imports wait until a command runs.
"""

import json
from contextlib import nullcontext
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from onnx_export.alone import alone
from onnx_export.cost import describe_cost
from onnx_export.shipped import GRAPH_NUMBER_KEY, graph_number
from onnx_export.source import default_base, default_checkpoint, is_fetched
from onnx_export.steps import Report, shown_steps
from slimrank import manifest as manifests
from slimrank import settings as process_settings
from slimrank import store
from slimrank.adapters import ADAPTER_HASH_KEY, CONFIG_FILE, LAYERS_KEY, VALUES_FILE, adapter_hash, is_adapter, layers_of
from slimrank.errors import ConfigError, ManifestError
from slimrank.folders import check_replaceable, new_folder
from slimrank.options import JsonOption
from slimrank.prompt import BUILT_IN, DEFAULT_MAX_PAIR_TOKENS, SLIMRANK, Prompt
from slimrank.providers import check_precision
from slimrank.settings import DEFAULT_MODEL_NAME

if TYPE_CHECKING:
    from onnx_export.fused import FusedPrecision
    from onnx_export.reference import Reference

model = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Make a model that ships with slimrank, or list the models of this machine."
)

ProviderFlag = Annotated[
    str | None, typer.Option(help="Where the model is verified and timed: cpu or cuda; default SLIMRANK_PROVIDER.")
]
HomeFlag = Annotated[Path | None, typer.Option(help="Folder for models; default SLIMRANK_HOME.")]


@model.callback()
def _models() -> None:
    """Make a model that ships with slimrank, or list the models of this machine."""


@model.command()
def pull(
    name: Annotated[
        str, typer.Argument(help="A model that ships with slimrank; `slimrank model list` shows them.", show_default=True)
    ] = DEFAULT_MODEL_NAME,
    home: HomeFlag = None,
    force: Annotated[bool, typer.Option("--force", help="Make the model again even if it is up to date.")] = False,
    provider: Annotated[
        str | None, typer.Option(help="Where the model will run; for cuda or tensorrt it is made in fp16, in a second folder.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make a shipped model: download its base model, merge the adapter that comes with slimrank, export, verify.

    A model that is up to date is left as it is. It is made again if slimrank has a newer adapter or graph.

    Example: slimrank model pull

    Example: slimrank model pull slimrank-135m --provider cuda
    """
    settings = process_settings.load(home=home, provider=provider)
    folder, adapter = store.shipped_folder(settings, name), store.shipped_adapter(name)
    with shown_steps() as report, alone(settings.home_folder, report):
        if force or not _is_current(folder, adapter):
            report(describe_cost(name, settings.home_folder, has_base=is_fetched(default_base(settings.home_folder))))
            _make_shipped(adapter, folder, settings.home_folder, report, for_gpu=settings.provider != "cpu")
    _print({"folder": str(folder)} | _figures(manifests.read(folder)), as_json)


@model.command("list")
def list_models(home: HomeFlag = None, as_json: JsonOption = False) -> None:
    """List the models of this machine, whether each can be served, and the shipped models that are not made yet.

    Example: slimrank model list
    """
    settings = process_settings.load(home=home)
    rows: list[dict[str, Any]] = []
    # A hidden folder is being made, or its making was interrupted.
    for path in sorted((settings.home_folder / "models").glob(f"[!.]*/{manifests.MANIFEST_FILE}")):
        rows.append({"folder": str(path.parent)} | _state(path.parent))
    made = {row["folder"] for row in rows}
    for name in store.shipped_names():
        folder = str(store.shipped_folder(settings, name))
        if folder not in made:
            fault = f"this shipped model is not made yet; make it with `slimrank model pull {name}`"
            rows.append({"folder": folder, "served": False, "fault": fault, "name": name})
    _print({"models": rows}, as_json)


def export(
    checkpoint: Annotated[
        str, typer.Argument(help="Checkpoint folder, hub id (ORG/NAME, or ORG/NAME@COMMIT), or the default base model's name.")
    ],
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="Model folder to write; an earlier one there is replaced once the new one is verified."),
    ],
    name: Annotated[
        str | None, typer.Option(help="Name of the model in requests and answers; default the folder's name.")
    ] = None,
    prompt: Annotated[str, typer.Option(help=f"Prompt: {', '.join(BUILT_IN)}, or a prompt.json file.")] = SLIMRANK.name,
    max_pair_tokens: Annotated[int, typer.Option(min=64, help="Longest pair, in tokens.")] = DEFAULT_MAX_PAIR_TOKENS,
    precision: Annotated[
        str, typer.Option(help="fp32, int8; for GPUs fp16, bf16, int8-gpu; auto: the fastest here that ranks as fp32 does.")
    ] = "fp32",
    provider: ProviderFlag = None,
    data: Annotated[
        list[Path] | None, typer.Option(help="With auto: BEIR folder whose judged queries decide; can be given several times.")
    ] = None,
    record: Annotated[
        bool, typer.Option("--record", help="With auto and --adapter: record the choice in the adapter, for `model pull`.")
    ] = False,
    plain: Annotated[bool, typer.Option("--plain", help="Write Optimum's graph instead of the serving graph.")] = False,
    adapter: Annotated[Path | None, typer.Option(help="LoRA adapter to merge into the checkpoint first.")] = None,
    layers: Annotated[
        int | None,
        typer.Option(min=1, help="Number of layers to keep, from the first; default what the adapter says, or all."),
    ] = None,
    compare: Annotated[
        bool,
        typer.Option("--verify/--no-verify", help="Compare with the checkpoint; a folder that is not verified cannot be served."),
    ] = True,
    trained: Annotated[bool, typer.Option("--trained", help="The checkpoint was trained to rerank.")] = False,
    home: HomeFlag = None,
    as_json: JsonOption = False,
) -> None:
    """Export a checkpoint to a model folder and verify it: a causal language model, or a cross-encoder with one logit.

    If the export fails, an earlier model folder stays as it is.

    Example: slimrank export BASE --adapter runs/adapter --out models/shop --trained

    Example: slimrank export cross-encoder/ms-marco-MiniLM-L6-v2 --precision int8 --out models/minilm
    """
    from onnx_export.source import base_checkpoint

    settings = process_settings.load(home=home, provider=provider)
    asked = _prompt(prompt)
    if record and settings.provider != "cpu":
        raise ConfigError("--record records the precision for CPUs, and --provider names a GPU; leave one of the two out")
    if compare and precision != "auto":  # before minutes of work
        check_precision(settings.provider, _precision(precision))
    check_replaceable(out, manifests.is_model_folder, "a model folder")
    if adapter is not None and not is_adapter(adapter):
        raise ConfigError(f"{adapter} is not an adapter: it has no {CONFIG_FILE}; name the folder that training wrote")
    said = None if adapter is None else _layers_said(adapter, layers, record=record)
    with shown_steps() as report, alone(settings.home_folder, report) if adapter or layers else nullcontext():
        source = base_checkpoint(checkpoint, settings.home_folder, report)
        if adapter is not None:
            source = _merged(adapter, source, settings.home_folder, report)
        if layers is not None and said is None:
            source = _pruned(source, layers, settings.home_folder, report)
        is_pair = _is_cross_encoder(source, plain=plain, has_prompt=prompt != SLIMRANK.name)
        if precision == "auto":
            from onnx_export.choose import CANDIDATES, GPU_CANDIDATES, PAIR_CANDIDATES, export_fastest

            made = export_fastest(
                source,
                out,
                report,
                name=name,
                prompt=asked,
                max_pair_tokens=max_pair_tokens,
                trained=trained,
                collections=data or [],
                candidates=PAIR_CANDIDATES if is_pair else CANDIDATES if settings.provider == "cpu" else GPU_CANDIDATES,
                times_all=settings.provider != "cpu",
                provider=settings.provider,
            )
            if record and adapter is not None:
                _record(adapter, made)
            _finish(out, as_json)
            return
        from onnx_export.verify import verify as verify_folder  # only now: a wrong folder is refused without waiting

        with new_folder(out, manifests.is_model_folder, "a model folder") as partial:
            reference = _exported(
                source,
                partial,
                report,
                name=name or out.resolve().name,
                prompt=asked,
                max_pair_tokens=max_pair_tokens,
                precision=_precision(precision),
                plain=plain,
                trained=trained,
            )
            if compare:
                found = verify_folder(partial, report, checkpoint=source, reference=reference, provider=settings.provider)
                if not found.passed:
                    raise ManifestError(
                        f"{out} was not written: scores differ by up to {found.max_score_difference:.4g} from {found.reference},"
                        f" and {found.tolerance:.4g} is allowed; export in fp32"
                    )
    if compare:
        _finish(out, as_json)


def verify(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Model folder, or a shipped name.")],
    checkpoint: Annotated[Path | None, typer.Option(help="Its checkpoint, if it has moved since export.")] = None,
    provider: ProviderFlag = None,
    as_json: JsonOption = False,
) -> None:
    """Compare the scores of a model folder with those of its checkpoint, and record the figures in its manifest.

    Example: slimrank verify models/shop

    Example: slimrank verify slimrank-135m
    """
    settings = process_settings.load(provider=provider)
    folder = store.folder_of(model, settings)
    manifests.read(folder)  # a wrong folder is refused before the heavy imports
    from onnx_export.verify import verify as verify_folder

    with shown_steps() as report:
        verify_folder(folder, report, checkpoint=checkpoint, provider=settings.provider)
    _finish(folder, as_json)


def _make_shipped(adapter: Path, folder: Path, home: Path, report: Report, *, for_gpu: bool) -> None:
    base = default_checkpoint(home, report, meanwhile=lambda: import_module("onnx_export.verify"))

    from onnx_export.adapter import recorded_precision
    from onnx_export.gate import LEAST_AGREEMENT
    from onnx_export.verify import verify as verify_folder

    checkpoint = _merged(adapter, base, home, report)
    choice = {"precision": "fp16"} if for_gpu else recorded_precision(checkpoint)
    # The new folder takes the place of the earlier one only once it is verified. Whatever is there was made by `pull`.
    with new_folder(folder, lambda _: True, "a shipped model") as partial:
        reference = _exported(checkpoint, partial, report, name=adapter.name, **choice)
        found = verify_folder(partial, report, checkpoint=checkpoint, reference=reference)
        if choice["precision"] == "int8" and not (found.passed and found.rank_agreement >= LEAST_AGREEMENT):
            # On some processors 8-bit products saturate, so that the recorded precision may rank badly on this machine.
            report(f"{choice['precision']} does not rank as fp32 does on this machine; export in fp32")
            _exported(checkpoint, partial, report, name=adapter.name)
            verify_folder(partial, report, checkpoint=checkpoint, reference=reference)
        manifests.check(partial)


def _exported(checkpoint: Path, target: Path, report: Report, **options: Any) -> "Reference | None":
    """Export a checkpoint; return its scores of the committed pairs if the export computed them."""
    from onnx_export.export import export as export_folder

    references: list[Reference] = []
    export_folder(checkpoint, target, report, keep=references.append, **options)
    return references[0] if references else None


def _record(adapter: Path, made: manifests.Manifest) -> None:
    from onnx_export.adapter import record_precision

    kept = {name: made.made_with[name].split(",") for name in ("in_float", "in_two") if name in made.made_with}
    figures = {"gate": made.made_with["gate"], "candidates": json.loads(made.made_with["candidates"])}
    record_precision(adapter, {"precision": made.precision} | kept | figures)


def _layers_said(adapter: Path, asked: int | None, *, record: bool) -> int | None:
    """Return how many layers an adapter keeps, None = all; refuse a ``--layers`` that contradicts it."""
    said = layers_of(adapter)
    if asked is None or said == asked:
        return said
    if said is not None:
        raise ConfigError(
            f"asked to keep {asked} layers, but the adapter {adapter} was trained with the first {said} ({VALUES_FILE}); leave --layers out"
        )
    if record:  # `model pull` would make another model than the one whose precision is recorded
        raise ConfigError(
            f"--record needs {adapter / VALUES_FILE} to say that the adapter keeps {asked} layers, and it does not;"
            f' add "{LAYERS_KEY}": {asked} there, or leave --record or --layers out'
        )
    return None


def _merged(adapter: Path, base: Path, home: Path, report: Report) -> Path:
    from onnx_export.adapter import merge

    report(f"merge the adapter {adapter.name} into the base model")
    return merge(adapter, base, home / "merged" / adapter.resolve().name)


def _pruned(checkpoint: Path, layers: int, home: Path, report: Report) -> Path:
    from onnx_export.prune import keep_layers

    report(f"keep the first {layers} layers")
    return keep_layers(checkpoint, layers, home / "merged" / f"{checkpoint.resolve().name}-{layers}-layers")


def _is_cross_encoder(checkpoint: Path, *, plain: bool, has_prompt: bool) -> bool:
    """Return whether a checkpoint is a cross-encoder; refuse options that a cross-encoder does not have."""
    from onnx_export.cross_encoder import kind_of

    if kind_of(checkpoint) == "language_model":
        return False
    for name, is_given in (("--plain", plain), ("--prompt", has_prompt)):
        if is_given:
            raise ConfigError(
                f"{name} is for language models, and {checkpoint} is a cross-encoder, which has one graph and its own pair"
                f" template; leave {name} out"
            )
    return True


def _prompt(name: str) -> Prompt:
    if name in BUILT_IN:
        return BUILT_IN[name]
    if not Path(name).is_file():
        raise ConfigError(f"there is no prompt {name}; choose {', '.join(BUILT_IN)} or give a prompt.json")
    return Prompt.load(Path(name))


def _precision(name: str) -> "FusedPrecision":
    from onnx_export.fused import FUSED_PRECISIONS

    for known in FUSED_PRECISIONS:
        if name == known:
            return known
    raise ConfigError(f"there is no precision {name}; choose {', '.join(FUSED_PRECISIONS)} or auto")


def _is_current(folder: Path, adapter: Path) -> bool:
    """Return whether a shipped model can be served and was made with the present adapter and the present graph."""
    if not _is_served(folder):
        return False
    found = manifests.read(folder)
    number, merged = found.made_with.get(GRAPH_NUMBER_KEY, "1"), found.made_with.get(ADAPTER_HASH_KEY)
    return number == graph_number(found.precision) and merged == adapter_hash(adapter)


def _state(folder: Path) -> dict[str, Any]:
    """Return whether a folder can be served, its figures, and its fault if it has one."""
    try:
        return {"served": True} | _figures(manifests.check(folder))
    except ManifestError as error:
        try:
            figures = _figures(manifests.read(folder))
        except ManifestError:
            figures = {"name": folder.name}
        return {"served": False, "fault": str(error)} | figures


def _is_served(folder: Path) -> bool:
    try:
        manifests.check(folder)
    except ManifestError:
        return False
    return True


def _finish(folder: Path, as_json: bool) -> None:
    """Print a folder's figures; a folder that cannot be served is an error."""
    _print({"folder": str(folder)} | _figures(manifests.read(folder)), as_json)
    manifests.check(folder)


def _figures(manifest: manifests.Manifest) -> dict[str, Any]:
    figures = manifest.verification.model_dump() if manifest.verification else {"passed": False}
    return _card(manifest) | figures


def _card(manifest: manifests.Manifest) -> dict[str, Any]:
    """Return the description of a model: its kind, architecture, precision, origin, limits and size."""
    return {
        "name": manifest.name,
        "kind": manifest.kind.replace("_", " "),
        "base": f"{manifest.base}, {manifest.architecture.layers} layers",
        "precision": manifest.precision,
        "made_from": manifest.made_with.get("checkpoint", "unknown"),
        "max_pair_tokens": manifest.max_pair_tokens,
        "takes_instructions": manifest.kind == "language_model",
        "megabytes": round(sum(record.bytes for record in manifest.files.values()) / 1e6, 1),
    }


def _print(figures: dict[str, Any], as_json: bool) -> None:
    if as_json:
        Console(soft_wrap=True).print_json(data=figures)
        return
    console = Console(soft_wrap=True, highlight=False)
    for row in figures.get("models", [figures]):
        for key, value in row.items():
            console.print(f"{key:22} {value}", markup=False)
