"""The processor is named by what its kernel says, with how it multiplies 8 bits."""

from pathlib import Path

import pytest

from slimrank import processor

TELLS = {
    "model name\t: AMD EPYC\nflags\t\t: fma avx2 avx512f avx512_vnni\n\nmodel name\t: another\n": (
        "AMD EPYC (AVX-512 VNNI)",
        ["AVX-512 VNNI"],
    ),
    "model name\t: AMD EPYC\nflags\t\t: fma avx2\n": ("AMD EPYC (no VNNI)", []),
    "model name\t: Xeon: Gold\nflags\t\t: amx_int8 avx_vnni avx512_vnni\n": (
        "Xeon: Gold (AMX)",
        ["AMX", "AVX-512 VNNI", "AVX-VNNI"],
    ),
}


@pytest.mark.parametrize("text", TELLS)
def test_the_kernels_word_is_taken(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "cpuinfo")
    assert (processor.describe(), processor.eight_bit_products()) == TELLS[text]


def test_arm_names_features_and_no_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cpuinfo").write_text("BogoMIPS\t: 243.75\nFeatures\t: fp asimd asimddp i8mm\n")
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "cpuinfo")
    assert processor.eight_bit_products() == ["I8MM", "SDOT"]
    assert processor.describe().endswith("(I8MM)")


def test_a_system_without_that_file_is_named_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "missing")
    assert processor.eight_bit_products() is None
    assert processor.describe()
