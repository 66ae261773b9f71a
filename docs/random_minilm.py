"""Write a cross-encoder of MiniLM-L6's shape with random weights, to be exported and timed where no published one can be had.

    python -m docs.random_minilm tokenizer.json CHECKPOINT
    slimrank export CHECKPOINT --precision int8 --out models/minilm-sized
    slimrank frontier FOLDER --model models/minilm-sized

Its times are those of the published ones: weights do not change what a product costs. Its scores say nothing, so give no ``--data``.
The tokenizer is that of any uncased BERT, such as bge-small's.
"""

import argparse
from pathlib import Path

from tokenizers import Tokenizer

SHAPE = {"num_hidden_layers": 6, "hidden_size": 384, "num_attention_heads": 12, "intermediate_size": 1536}
SPECIAL = {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "unk_token": "[UNK]", "mask_token": "[MASK]"}


def write(tokenizer: Path, folder: Path, *, seed: int = 1, **shape: int) -> None:
    """Write the checkpoint.

    Args:
        shape: In place of MiniLM-L6's, for a smaller one.
    """
    import torch
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    torch.manual_seed(seed)
    words = Tokenizer.from_file(str(tokenizer))
    config = BertConfig(**SHAPE | shape, vocab_size=words.get_vocab_size(), num_labels=1)  # type: ignore[arg-type]
    BertForSequenceClassification(config).save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=words, model_max_length=512, **SPECIAL).save_pretrained(folder)


def main() -> None:
    """Write it where the command line says."""
    parser = argparse.ArgumentParser(description="Write a random cross-encoder of MiniLM-L6's shape.")
    parser.add_argument("tokenizer", type=Path, help="tokenizer.json of an uncased BERT")
    parser.add_argument("folder", type=Path, help="where the checkpoint goes")
    given = parser.parse_args()
    write(given.tokenizer, given.folder)


if __name__ == "__main__":
    main()
