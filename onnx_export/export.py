"""Checkpoint folder -> model folder: an ONNX graph of two logits, its prompt and its manifest.

The LM head is replaced by its two rows for the answer tokens, in the order irrelevant, relevant,
and Optimum traces the model with past keys and values, so that one graph both scores and shares a
query's prefix between documents. The folder appears only when it is complete; it is served only
after ``onnx_export.verify`` has compared it with the checkpoint.
"""

import shutil
from importlib.metadata import version
from pathlib import Path

from onnx_export import checkpoint as checkpoints
from onnx_export.source import Report, checked_checkpoint, new_folder
from slimrank import __version__
from slimrank.manifest import GRAPH_FILE, PROMPT_FILE, TOKENIZER_FILE, Manifest, file_records, sha256_of
from slimrank.prompt import DEFAULT_MAX_PAIR_TOKENS, SLIMRANK, Prompt

OPSET = 18
MADE_WITH = ("torch", "transformers", "optimum", "optimum-onnx", "onnxruntime")
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
    trained: bool = False,
) -> Manifest:
    """Write the model folder ``target``; one that is already there is replaced.

    Args:
        name: What the model is called on the wire; default the target's name.
        prompt: What the model was, or will be, asked with.
        trained: Whether the checkpoint was trained to rerank.

    Raises:
        ModelSourceError: the checkpoint cannot be loaded.
        ConfigError: an answer of the prompt is not one token of the model.
    """
    checked_checkpoint(checkpoint_folder)
    report("load the checkpoint")
    loaded = checkpoints.load(checkpoint_folder)
    max_query_tokens = max_pair_tokens // 2
    encoder = loaded.encoder(prompt, max_pair_tokens=max_pair_tokens, max_query_tokens=max_query_tokens)
    with new_folder(target) as partial:
        report("export the graph")
        _export_graph(loaded, [encoder.irrelevant_id, encoder.relevant_id], partial)
        loaded.tokenizer.save(str(partial / TOKENIZER_FILE))
        prompt.save(partial / PROMPT_FILE)
        report("write the manifest")
        manifest = Manifest(
            name=name or target.name,
            base=str(getattr(loaded.model.config, "model_type", "unknown")),
            prompt=prompt.name,
            prompt_sha256=prompt.digest(),
            relevant_id=encoder.relevant_id,
            irrelevant_id=encoder.irrelevant_id,
            max_pair_tokens=max_pair_tokens,
            max_query_tokens=max_query_tokens,
            opset=OPSET,
            architecture=loaded.architecture,
            trained=trained,
            made_with={"slimrank": __version__}
            | {package: version(package) for package in MADE_WITH}
            | {CHECKPOINT_KEY: str(checkpoint_folder.resolve()), CHECKPOINT_HASH_KEY: weights_hash(checkpoint_folder)},
            files=file_records(partial, (file.name for file in partial.iterdir())),
        )
        manifest.save(partial)
    return manifest


def weights_hash(folder: Path) -> str:
    """Return one hash for the weights of a checkpoint: of its single file, or of its parts' hashes."""
    parts = [sha256_of(file) for file in sorted(folder.glob("*.safetensors"))]
    return parts[0] if len(parts) == 1 else "+".join(part[:16] for part in parts)


def _export_graph(loaded: checkpoints.Checkpoint, answer_ids: list[int], target: Path) -> None:
    from optimum.exporters.onnx import onnx_export_from_model

    model = checkpoints.with_answer_head(loaded.model, answer_ids)
    traced = target / "traced"
    with checkpoints.quiet():
        onnx_export_from_model(model, traced, task="text-generation-with-past", opset=OPSET, do_validation=False)
    for file in traced.iterdir():
        if file.name.startswith(GRAPH_FILE) or file.name == "config.json":
            file.rename(target / file.name)
    shutil.rmtree(traced)
