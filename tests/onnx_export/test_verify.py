"""A model folder is proved against the very checkpoint that it was made from, or refused."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from onnx_export import checkpoint as checkpoints
from onnx_export.reference import reference_scores, token_groups
from onnx_export.verify import verify
from slimrank import manifest as manifests
from slimrank.errors import ManifestError
from slimrank.prompt import SLIMRANK
from tests.onnx_export.test_export import ignore
from tests.tiny import MAX_PAIR_TOKENS


def test_the_reference_is_the_textbook_computation(tiny_checkpoint: Path) -> None:
    loaded = checkpoints.load(tiny_checkpoint)
    encoder = loaded.encoder(SLIMRANK, max_pair_tokens=MAX_PAIR_TOKENS, max_query_tokens=MAX_PAIR_TOKENS // 2)
    group = next(iter(token_groups(encoder)))
    model = AutoModelForCausalLM.from_pretrained(tiny_checkpoint)
    with torch.inference_mode():
        logits = model(torch.tensor([group.prefix + group.rows[0]])).logits[0, -1]
    zero, one = (loaded.tokenizer.token_to_id(answer) for answer in "01")
    assert reference_scores(loaded, encoder, group)[0] == pytest.approx((logits[one] - logits[zero]).item(), abs=1e-5)


def test_a_failed_verification_is_recorded_and_refused(model_copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("onnx_export.verify").verify.TOLERANCE, "fp32", 0.0)
    assert not verify(model_copy, ignore).passed
    with pytest.raises(ManifestError, match="failed verification"):
        manifests.check(model_copy)


def test_verify_refuses_another_checkpoint(model_copy: Path, tiny_qwen_checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="weights differ"):
        verify(model_copy, ignore, checkpoint=tiny_qwen_checkpoint)
    with pytest.raises(ManifestError, match="--checkpoint"):
        verify(model_copy, ignore, checkpoint=tmp_path)
