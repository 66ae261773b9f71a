"""Read a GGUF file: its keys and values, and its weights in float32.

The reader of the package ``gguf`` takes about eight seconds for a vocabulary of 49,000 tokens, and transformers runs it four
times for one checkpoint. The format is a list of keys and values, then a list of tensors and their places (ggml's docs/gguf.md).
Quantised weights are converted to float32 by ``gguf``.
"""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

MAGIC = b"GGUF"
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
"""The types of values and their ``struct`` formats; texts and lists have a type of their own."""
TEXT, LIST = 8, 9
ALIGNMENT = 32


class _Cursor:
    """Reads values one after the other."""

    def __init__(self, content: memoryview) -> None:
        self._content, self.at = content, 0

    def take(self, form: str) -> Any:
        found = struct.unpack_from(f"<{form}", self._content, self.at)
        self.at += struct.calcsize(f"<{form}")
        return found if len(found) > 1 else found[0]

    def text(self) -> str:
        length = self.take("Q")
        self.at += length
        return str(self._content[self.at - length : self.at], "utf-8")

    def value(self, kind: int) -> Any:
        if kind == TEXT:
            return self.text()
        if kind == LIST:
            inner, length = self.take("IQ")
            return [self.value(inner) for _ in range(length)]
        return self.take(SCALARS[kind])


def read_gguf(path: Path) -> tuple[dict[str, Any], dict[str, npt.NDArray[np.float32]]]:
    """Return the values by their keys, and the weights by their names, outermost dimension first.

    Raises:
        ValueError: the file is not a GGUF file, or a part of it is missing.
    """
    from gguf import GGMLQuantizationType
    from gguf.constants import GGML_QUANT_SIZES
    from gguf.quants import dequantize

    content = memoryview(bytearray(path.read_bytes()))  # torch needs a buffer that can be written
    cursor = _Cursor(content)
    try:
        if cursor.take("4s") != MAGIC:
            raise ValueError(f"{path.name} is not a GGUF file")
        _, tensors, pairs = cursor.take("IQQ")
        values = {cursor.text(): cursor.value(cursor.take("I")) for _ in range(pairs)}
        places = []
        for _ in range(tensors):
            name, shape = cursor.text(), [cursor.take("Q") for _ in range(cursor.take("I"))]
            places.append((name, shape[::-1], *cursor.take("IQ")))
    except (struct.error, KeyError, UnicodeDecodeError) as error:
        raise ValueError(f"{path.name} is not a whole GGUF file: {error}") from error
    alignment = values.get("general.alignment", ALIGNMENT)
    start = -(-cursor.at // alignment) * alignment
    weights = {}
    for name, shape, kind, offset in places:
        block, block_bytes = GGML_QUANT_SIZES[GGMLQuantizationType(kind)]
        row_bytes = shape[-1] // block * block_bytes
        size = int(np.prod(shape[:-1], dtype=int)) * row_bytes
        packed = np.frombuffer(content[start + offset : start + offset + size], dtype=np.uint8)
        weights[name] = dequantize(packed.reshape(*shape[:-1], row_bytes), GGMLQuantizationType(kind)).reshape(shape)
    return values, weights
