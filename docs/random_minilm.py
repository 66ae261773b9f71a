"""Write a cross-encoder of MiniLM-L6's shape with random weights, to export and time it where no published one can be downloaded.

    python -m docs.random_minilm tokenizer.json CHECKPOINT
    slimrank export CHECKPOINT --precision int8 --out models/minilm-sized
    slimrank frontier FOLDER --model models/minilm-sized

It takes as long as a published one, since the time of a product does not depend on the weights. Its scores mean nothing, so give no
``--data``. The tokenizer can be that of any uncased BERT, such as bge-small.
"""

import argparse
from pathlib import Path

from tokenizers import Tokenizer

SHAPE = {"num_hidden_layers": 6, "hidden_size": 384, "num_attention_heads": 12, "intermediate_size": 1536}
SPECIAL = {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "unk_token": "[UNK]", "mask_token": "[MASK]"}


def write(tokenizer: Path, folder: Path, *, seed: int = 1, **shape: int) -> None:
    """Write the checkpoint.

    Args:
        shape: Values that replace those of ``SHAPE``, for a smaller model.
    """
    import torch
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    torch.manual_seed(seed)
    words = Tokenizer.from_file(str(tokenizer))
    config = BertConfig(**SHAPE | shape, vocab_size=words.get_vocab_size(), num_labels=1)  # type: ignore[arg-type]
    BertForSequenceClassification(config).save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=words, model_max_length=512, **SPECIAL).save_pretrained(folder)


def main() -> None:
    """Write the checkpoint to the folder of the command line."""
    parser = argparse.ArgumentParser(description="Write a random cross-encoder of MiniLM-L6's shape.")
    parser.add_argument("tokenizer", type=Path, help="tokenizer.json of an uncased BERT")
    parser.add_argument("folder", type=Path, help="folder to write the checkpoint to")
    given = parser.parse_args()
    write(given.tokenizer, given.folder)


if __name__ == "__main__":
    main()
