"""Only the layers whose activations have outliers are taken in two steps."""

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

from onnx_export.export import export
from onnx_export.outliers import OUTLIERS, outlier_products
from slimrank.manifest import Manifest


def test_only_the_layer_with_a_planted_outlier_is_found(tiny_checkpoint: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_checkpoint)
    layers = model.model.layers
    layers.extend(
        [type(layers[0])(model.config, layer_idx=0) for _ in range(2)]
    )  # four layers, so that there is a meaningful median
    model.config.num_hidden_layers = len(layers)
    for layer in layers[2:]:
        layer.load_state_dict(layers[0].state_dict())
    for place, layer in enumerate(layers):
        layer.self_attn.layer_idx = place
    with (
        torch.no_grad()
    ):  # one channel is a thousand times larger and is not read: with one scale a row, the other channels become 0
        layers[2].mlp.up_proj.weight[0] *= 1000
        layers[2].mlp.down_proj.weight[:, 0] = 0
    ids = torch.randint(0, 100, (2, 24), generator=torch.Generator().manual_seed(0))

    def run() -> None:
        with torch.inference_mode():
            model(input_ids=ids, use_cache=False)

    assert outlier_products(model, run) == ["layers.2.mlp.down_proj"]


def test_an_export_records_the_products_with_outliers(tiny_checkpoint: Path, tmp_path: Path) -> None:
    made: Manifest = export(tiny_checkpoint, tmp_path / "model", lambda *_: None, precision="int8", in_two=(OUTLIERS,))
    assert OUTLIERS not in made.made_with.get("in_two", "")
    assert (tmp_path / "model" / "model.onnx").is_file()
