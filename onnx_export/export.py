"""Export a checkpoint folder to a model folder: an ONNX graph, a tokenizer, a prompt and a manifest.

The LM head is replaced by its two rows for the answer tokens, in the order irrelevant, relevant. A model of the Llama
family gets the serving graph of ``onnx_export.fused``; any other causal LM is traced by Optimum with past keys and values.
Both graphs score pairs and share a query's prefix between documents. A cross-encoder keeps its head of one logit, in
Optimum's graph. The folder appears only when it is complete. It can be served only after ``onnx_export.verify`` has
compared it with the checkpoint.
"""

import shutil
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

import onnx
import torch
from transformers import PreTrainedModel

from onnx_export import cross_encoder
from onnx_export.adapter import merged_hash, values_of
from onnx_export.checkpoint import Checkpoint, load, quiet, weights_hash, with_answer_head
from onnx_export.cores import side_by_side
from onnx_export.fused import FAMILIES, FusedPrecision, can_fuse, is_named, write_graph
from onnx_export.outliers import OUTLIERS, outlier_products
from onnx_export.pair_graph import finish
from onnx_export.pairs import read_pairs
from onnx_export.reference import Reference, score_pairs
from onnx_export.rounding import round_weights
from onnx_export.shipped import GRAPH_NUMBER_KEY, graph_number
from onnx_export.smoothing import smooth
from onnx_export.source import checked_checkpoint
from onnx_export.steps import Report, ticks
from slimrank import __version__
from slimrank.adapters import ADAPTER_HASH_KEY
from slimrank.errors import ConfigError
from slimrank.folders import check_replaceable, new_folder
from slimrank.manifest import (
    GRAPH_FILE,
    PROMPT_FILE,
    TOKENIZER_FILE,
    Calibration,
    Fusion,
    Manifest,
    file_records,
    is_model_folder,
)
from slimrank.prompt import DEFAULT_MAX_PAIR_TOKENS, SLIMRANK, Prompt, PromptEncoder
from slimrank.providers import WHEELS, is_installed

PLAIN_OPSET = 18
PAIR_PRECISIONS = ("fp32", "int8")
MADE_WITH = ("torch", "transformers", "optimum", "optimum-onnx", *WHEELS)
"""The manifest records the versions of these packages, if they are installed; ONNX Runtime's wheel for GPUs has another name."""
CHECKPOINT_KEY = "checkpoint"
CHECKPOINT_HASH_KEY = "checkpoint_sha256"


def export(
    checkpoint_folder: Path,
    target: Path,
    report: Report,
    *,
    name: str | None = None,
    prompt: Prompt = SLIMRANK,
    max_pair_tokens: int = DEFAULT_MAX_PAIR_TOKENS,
    precision: FusedPrecision = "fp32",
    in_float: Sequence[str] = (),
    in_two: Sequence[str] = (OUTLIERS,),
    plain: bool = False,
    trained: bool = False,
    keep: Callable[[Reference], None] = lambda _: None,
) -> Manifest:
    """Write the model folder ``target``; an earlier model folder there is replaced, anything else is refused.

    Args:
        name: The model's name on the wire; default the target's name.
        prompt: The prompt that the model is used with; ignored for a cross-encoder, which has its own pair template.
        precision: fp32; int8 with one activation scale a row; for GPUs fp16, bf16, or int8-gpu, whose activations are fp16.
            Of a language model, all but fp32 need the serving graph.
        in_float: Names of the products that int8 leaves in float32.
        in_two: Names of the products whose activations int8 takes in two steps; "outliers" = each ``down_proj`` with outliers.
        plain: Write Optimum's graph even if the serving graph is possible.
        trained: Whether the checkpoint was trained to rerank.
        keep: Called with the checkpoint's scores of the committed pairs if the export computes them, as int8 does; ``verify``
            can use them.

    Raises:
        ModelSourceError: the checkpoint cannot be loaded.
        ConfigError: an answer of the prompt is not one token of the model, the precision is not
            available for its architecture, or ``target`` is neither empty nor a model folder.
    """
    check_replaceable(target, is_model_folder, "a model folder")
    checked_checkpoint(checkpoint_folder)
    values = values_of(checkpoint_folder)
    report("load the checkpoint")
    loaded = load(checkpoint_folder)
    if loaded.pair is not None:
        prompt = loaded.pair
        cross_encoder.check_limit(loaded.model, max_pair_tokens)
    max_query_tokens = max_pair_tokens // 2
    encoder = loaded.encoder(prompt, max_pair_tokens=max_pair_tokens, max_query_tokens=max_query_tokens)
    with new_folder(target, is_model_folder, "a model folder") as partial:
        report("export the graph")
        config = loaded.model.config
        config.save_pretrained(partial)
        two_steps: list[str] = []
        if loaded.pair is not None:
            _export_pairs(loaded, encoder, partial, precision)
        elif plain or not can_fuse(config):
            if precision != "fp32":
                raise ConfigError(
                    f"{precision} is available for {', '.join(FAMILIES)}, not for {config.model_type}; export it in fp32"
                )
            _export_plain(loaded, encoder, partial)
        else:
            two_steps = _export_fused(loaded, encoder, partial, report, precision, in_float, in_two, keep)
        loaded.tokenizer.save(str(partial / TOKENIZER_FILE))
        prompt.save(partial / PROMPT_FILE)
        report("write the manifest")
        manifest = Manifest(
            kind=loaded.kind,
            name=name or target.name,
            base=str(getattr(loaded.model.config, "model_type", "unknown")),
            prompt=prompt.name,
            prompt_sha256=prompt.digest(),
            relevant_id=encoder.relevant_id,
            irrelevant_id=encoder.irrelevant_id,
            max_pair_tokens=max_pair_tokens,
            max_query_tokens=max_query_tokens,
            precision=precision,
            opset=_opset(partial / GRAPH_FILE),
            architecture=loaded.architecture,
            trained=trained or bool(values) or loaded.kind == "cross_encoder",
            calibration=Calibration.model_validate(values.get("calibration", {})),
            fusion=Fusion.model_validate(values["fusion"]) if "fusion" in values else None,
            made_with={"slimrank": __version__, GRAPH_NUMBER_KEY: graph_number(precision)}
            | {package: version(package) for package in MADE_WITH if is_installed(package)}
            | ({"in_float": ",".join(in_float)} if in_float else {})
            | ({"in_two": ",".join(two_steps)} if two_steps else {})
            | ({ADAPTER_HASH_KEY: merged} if (merged := merged_hash(checkpoint_folder)) else {})
            | {CHECKPOINT_KEY: str(checkpoint_folder.resolve()), CHECKPOINT_HASH_KEY: weights_hash(checkpoint_folder)},
            files=file_records(partial, (file.name for file in partial.iterdir())),
        )
        manifest.save(partial)
    return manifest


def _export_fused(
    loaded: Checkpoint,
    encoder: PromptEncoder,
    target: Path,
    report: Report,
    precision: FusedPrecision,
    in_float: Sequence[str],
    in_two: Sequence[str],
    keep: Callable[[Reference], None],
) -> list[str]:
    """Write the serving graph; return the names of the products whose activations it takes in two steps."""
    two_steps = _ready_for_int8(loaded, encoder, report, in_float, in_two, keep) if precision == "int8" else []
    path = target / GRAPH_FILE
    write_graph(
        loaded.model,
        encoder.answer_ids,
        path,
        precision=precision,
        in_float=in_float,
        in_two=two_steps,
        max_pair_tokens=encoder.max_pair_tokens,
    )
    return two_steps


def _ready_for_int8(
    loaded: Checkpoint,
    encoder: PromptEncoder,
    report: Report,
    in_float: Sequence[str],
    in_two: Sequence[str],
    keep: Callable[[Reference], None],
) -> list[str]:
    """Smooth and round the weights in place; return ``in_two`` with the names of the outliers filled in."""

    def run() -> None:
        _calibrate(loaded, encoder, report)

    # One pass over the unchanged weights gives both: the inputs to smooth by, and the scores to verify with.
    smooth(loaded.model, lambda: keep(score_pairs(loaded, encoder, report)))
    two_steps = [name for name in in_two if name != OUTLIERS]
    if OUTLIERS in in_two:
        two_steps += outlier_products(loaded.model, run)
    round_weights(loaded.model, run, report, skip=lambda name: is_named(name, in_float))
    return two_steps


def _calibrate(loaded: Checkpoint, encoder: PromptEncoder, report: Report) -> None:
    """Run the model on the committed pairs."""

    def run(ids: list[int]) -> None:
        with torch.inference_mode():
            loaded.model(input_ids=torch.tensor([ids]), logits_to_keep=1)

    pairs = [encoder.pair_ids(group.query, document).ids for group in read_pairs() for document in group.documents]
    side_by_side(run, pairs, ticks(report, "measure the inputs of each product", len(pairs)), size=len)


def _export_plain(loaded: Checkpoint, encoder: PromptEncoder, target: Path) -> None:
    _trace(with_answer_head(loaded.model, encoder.answer_ids), target, "text-generation-with-past")


def _export_pairs(loaded: Checkpoint, encoder: PromptEncoder, target: Path, precision: FusedPrecision) -> None:
    if precision not in PAIR_PRECISIONS:
        raise ConfigError(f"a cross-encoder cannot be exported in {precision}; choose {' or '.join(PAIR_PRECISIONS)}")
    _trace(loaded.model, target, "text-classification")
    finish(target / GRAPH_FILE, separator_id=encoder.separator_ids[0], in_8_bits=precision == "int8")


def _trace(model: PreTrainedModel, target: Path, task: str) -> None:
    """Write Optimum's graph of a model."""
    from optimum.exporters.onnx import onnx_export_from_model

    traced = target / "traced"
    with quiet():
        onnx_export_from_model(model, traced, task=task, opset=PLAIN_OPSET, do_validation=False)
    for file in traced.glob(f"{GRAPH_FILE}*"):
        file.rename(target / file.name)
    shutil.rmtree(traced)


def _opset(graph: Path) -> int:
    imports = onnx.load(str(graph), load_external_data=False).opset_import
    return next(int(entry.version) for entry in imports if entry.domain == "")
