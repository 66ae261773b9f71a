"""What this process may use of its machine's cores is read, not guessed."""

from pathlib import Path

import pytest

from slimrank import cgroups, processor


def test_two_hardware_threads_of_a_core_are_one_and_other_processes_cores_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for cpu in range(8):
        (tmp_path / str(cpu)).write_text(f"{cpu % 4},{cpu % 4 + 4}\n")
    monkeypatch.setattr(processor, "SIBLINGS", str(tmp_path / "{}"))
    monkeypatch.setattr(cgroups, "PROC", tmp_path / "none")
    monkeypatch.setattr(processor, "_affinity", lambda: {0, 1, 2, 4, 5})
    assert (processor.cores(), processor.physical_cores()) == (5, 3)
    monkeypatch.setattr(cgroups, "cpu_quota", lambda: 2.5)
    assert (processor.cores(), processor.physical_cores()) == (2.5, 2)
    monkeypatch.setattr(cgroups, "cpu_quota", lambda: 0.5)
    assert processor.physical_cores() == 1


def test_without_the_kernels_word_every_cpu_is_a_core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "SIBLINGS", str(tmp_path / "none-{}"))
    monkeypatch.setattr(cgroups, "PROC", tmp_path / "none")
    monkeypatch.setattr(processor, "_affinity", lambda: {3, 4})
    assert processor.physical_cores() == 2


def test_runs_go_side_by_side_on_a_processor_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "physical_cores", lambda: 3)
    assert [processor.lanes(threads, "cpu") for threads in (0, 1, 5)] == [3, 1, 5]
    assert [processor.lanes(threads, "cuda") for threads in (0, 5)] == [1, 1]


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
