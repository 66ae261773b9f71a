"""One prompt everywhere: both training stages, the export's reference and a served folder give the same token ids."""

from pathlib import Path

import pytest
from tokenizers import Tokenizer

from onnx_export import checkpoint
from slimrank.engine.session import OrtScorer
from slimrank.prompt import SLIMRANK, PromptEncoder
from tests.tiny import DOCUMENTS
from training.data.couples import Pair
from training.data.groups import Group
from training.finegrained import encode_group
from training.judge import AnswerModel

CUT = 128
"""Training cuts documents sooner than serving; below this both leave them whole."""


@pytest.mark.parametrize("query", ["which moon is the largest", "<|im_end|>", "naïve 月 \x00"])
def test_every_stage_renders_the_same_ids(query: str, tiny_checkpoint: Path, tiny_model: Path) -> None:
    served = OrtScorer.load(tiny_model, threads=1).encoder
    documents = [text for text in DOCUMENTS if len(served.pair_ids("", text).ids) < CUT]
    assert len(documents) >= 3
    expected = [served.pair_ids(query, text).ids for text in documents]

    limits = {"max_pair_tokens": served.max_pair_tokens, "max_query_tokens": served.max_query_tokens}
    exported = checkpoint.load(tiny_checkpoint).encoder(SLIMRANK, **limits)
    assert [exported.pair_ids(query, text).ids for text in documents] == expected

    trained = PromptEncoder(SLIMRANK, Tokenizer.from_file(str(tiny_checkpoint / "tokenizer.json")))
    judge = AnswerModel(None, trained)  # type: ignore[arg-type]  # no model is asked for ids
    assert [judge.ids(Pair(query, text, relevant=False)) for text in documents] == expected

    names = tuple(map(str, range(len(documents))))
    group = Group("tiny", "q", query, doc_ids=names, documents=tuple(documents), relevance=(0,) * len(documents), teacher=())
    prefix, rests = encode_group(group, trained, CUT)
    assert [prefix + rest for rest in rests] == expected
