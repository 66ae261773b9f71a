"""``slimrank train``: prepare, warmup, finegrained. Parses arguments, calls the stages, prints paths."""

import logging
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Train a model in two stages.")

ConfigArgument = Annotated[Path, typer.Argument(help="YAML configuration; see training/configs.")]
BaseOption = Annotated[Path | None, typer.Option(help="Folder of the base model; before the configuration's.")]
GroupsOption = Annotated[Path | None, typer.Option(help="Training groups; before the configuration's.")]
TeacherOption = Annotated[Path | None, typer.Option(help="Folder of the teacher: an .onnx file and its tokenizer.json.")]
OutOption = Annotated[Path | None, typer.Option(help="Folder of checkpoints and logs; before the configuration's.")]


@app.callback()
def _log_to_stderr() -> None:
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
    logging.getLogger("bm25s").setLevel(logging.WARNING)


@app.command()
def finegrained(
    config: ConfigArgument,
    base: BaseOption = None,
    groups: GroupsOption = None,
    out: OutOption = None,
    teacher: TeacherOption = None,
) -> None:
    """Stage 2: learn fine-grained scores; the same command resumes a stopped run."""
    from training.config import FinegrainedConfig, read_config
    from training.finegrained import train

    typer.echo(train(read_config(config, FinegrainedConfig, model__base=base, groups=groups, output=out, teacher=teacher)))


@app.command()
def prepare(
    config: ConfigArgument,
    data: Annotated[Path, typer.Option(help="Folder that holds the collections (BEIR folders).")],
    out: Annotated[Path, typer.Option(help="Where groups.jsonl goes.")],
    teacher: TeacherOption = None,
) -> None:
    """Make training groups: labels, hard negatives of the first stage, soft labels of a teacher."""
    from training.config import read_yaml
    from training.prepare import prepare as make

    typer.echo(make(read_yaml(config), data, out, teacher))
