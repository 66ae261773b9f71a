"""Stage 2: fine-grained scores, ``slimrank train finegrained CONFIG``.

Follows the second stage of ProRank (arXiv 2506.03487): the score is read from the two answer
tokens, and no layer is added. The paper does not state its loss, so these choices are ours:
(1) a listwise loss over first-stage hits, against labels mixed with a teacher's soft
targets; (2) one forward pass of the shared prefix for each group; (3) LoRA, optionally only on the upper
layers; (4) weights in bfloat16, with float32 masters of the trained ones; (5) a warm-up, stable,
decay schedule, so that a run can be made longer while it is in its stable part.

After a kill, the same command resumes from the newest checkpoint and repeats the
same losses: the order of groups and the cuts of documents depend only on the seed and the step.
"""

import math
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor

from slimrank.errors import ConfigError
from slimrank.prompt import SLIMRANK, PromptEncoder
from training import losses, parallel
from training.config import FinegrainedConfig, LossConfig
from training.data.ensemble import taught
from training.data.groups import Group, drop_false_negatives, read_groups
from training.data.teacher import Teacher, cosines
from training.model import GroupScorer, load_model, tokenizer_file
from training.progress import RunLog
from training.stepper import Stepper


def train(config: FinegrainedConfig) -> Path:
    """Run stage 2 to its last step and return the last checkpoint's folder.

    Raises:
        ConfigError: the configuration does not fit the data or the model, the loss is not a
            finite number, or a checkpoint cannot be written.
        DataError: the groups cannot be read.
    """
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    groups = read_groups(config.groups)
    encoder = PromptEncoder(SLIMRANK, Tokenizer.from_file(str(tokenizer_file(config.model.base))))
    model = load_model(config.model).to(parallel.state().device)
    scorer = GroupScorer(model, relevant_id=encoder.relevant_id, irrelevant_id=encoder.irrelevant_id).train()
    stepper = Stepper(model, config.optimizer, config.steps)
    first_step = stepper.resume(config.output)
    teacher = config.teacher and Teacher(config.teacher, max_tokens=config.teacher_max_tokens)
    order = group_order(
        len(groups), config.steps * config.optimizer.groups_per_step * parallel.state().num_processes, config.seed
    )
    last_saved = time.monotonic()
    with RunLog(config.output, steps=config.steps, first_step=first_step) as run_log:
        for step in range(first_step + 1, config.steps + 1):
            started = time.monotonic()
            values = _step(step, groups, order, encoder, scorer, stepper, config, teacher)
            if parallel.state().is_main_process:
                run_log.write(step, {**values, "seconds": round(time.monotonic() - started, 3)})
            if time.monotonic() - last_saved > config.checkpoint_minutes * 60:
                stepper.save(step, config)
                last_saved = time.monotonic()
    return stepper.save(config.steps, config)


@dataclass(frozen=True, slots=True)
class GroupLoss:
    """The loss of one group, and the values that are logged."""

    loss: Tensor
    listwise: float
    scores: Tensor


def group_loss(scores: Tensor, group: Group, config: LossConfig) -> GroupLoss:
    """Return the weighted loss of a group's scores, shape (N,)."""
    if config.kind == "margin_mse":
        ranking = losses.margin_mse(scores, group.teacher, temperature=config.teacher_temperature)
    else:
        targets = losses.group_targets(
            group.relevance, group.teacher, teacher_weight=config.teacher_weight, temperature=config.teacher_temperature
        )
        ranking = losses.listwise(scores, targets.to(scores.device))
    total = ranking + config.pointwise_weight * losses.pointwise(scores, group.relevance)
    return GroupLoss(total, float(ranking.detach()), scores.detach())


def encode_group(group: Group, encoder: PromptEncoder, document_tokens: int) -> tuple[list[int], list[list[int]]]:
    """Return the shared prefix and each document's ids with the suffix, cut to ``document_tokens``."""
    prefix = encoder.prefix_ids(group.query).ids
    pieces = encoder.document_ids(group.documents, len(prefix))
    return prefix, [piece.ids[:document_tokens] + list(encoder.suffix_ids) for piece in pieces]


def with_strangers(group: Group, groups: Sequence[Group], count: int, draw: random.Random) -> Group:
    """Return the group with its last ``count`` documents that are not positive replaced by documents of other groups."""
    replaceable = [index for index, grade in enumerate(group.relevance) if not grade][-count:] if count else []
    doc_ids, documents, relevance = list(group.doc_ids), list(group.documents), list(group.relevance)
    for index in replaceable:
        other = draw.choice(groups)
        pick = draw.randrange(len(other.documents))
        doc_ids[index], documents[index], relevance[index] = other.doc_ids[pick], other.documents[pick], None
    return replace(group, doc_ids=tuple(doc_ids), documents=tuple(documents), relevance=tuple(relevance), teacher=(), ranks=())


def ask_teacher(group: Group, teacher: Teacher | None, margin: float) -> Group:
    """Return the group with the teacher's cosines, and without the false negatives that these suggest."""
    if teacher is None or group.teacher:
        return group
    scores = cosines(teacher, group.query, group.documents)
    return drop_false_negatives(taught(group, scores.tolist()), margin)


def group_order(count: int, steps: int, seed: int) -> list[int]:
    """Return the index of the group for each of ``steps`` visits; each epoch is shuffled anew."""
    order: list[int] = []
    epoch = 0
    while len(order) < steps:
        indices = list(range(count))
        random.Random(f"{seed}-{epoch}").shuffle(indices)
        order += indices
        epoch += 1
    return order[:steps]


@dataclass(frozen=True, slots=True)
class Visit:
    """A group, cut and encoded for one step."""

    group: Group
    prefix: list[int]
    bodies: list[list[int]]


def _visits(
    step: int,
    groups: list[Group],
    order: Sequence[int],
    encoder: PromptEncoder,
    config: FinegrainedConfig,
    teacher: Teacher | None,
) -> list[Visit]:
    """Return this process's part of a step's groups, cut and encoded."""
    per_step, here = config.optimizer.groups_per_step, parallel.state()
    count = per_step * here.num_processes
    visits = []
    for place, index in list(enumerate(order[(step - 1) * count : step * count]))[here.process_index :: here.num_processes]:
        draw = random.Random(f"{config.seed}-{step}-{place}")
        # The groups of one batch share a cut; with different cuts, the short documents would be mostly padding.
        cuts = random.Random(f"{config.seed}-{step}") if config.one_forward else draw
        group, cut = groups[index], config.draw_cut(cuts)
        if step <= config.easy_start.steps:
            cut = config.easy_start.document_tokens
            # A stranger has no stored teacher score, so without a teacher the group needs labels.
            if teacher is not None or any(group.relevance):
                group = with_strangers(group, groups, config.easy_start.strangers, draw)
        group = ask_teacher(group, teacher, config.false_negative_margin)
        visits.append(Visit(group, *encode_group(group, encoder, cut)))
    return visits


def _step(
    step: int,
    groups: list[Group],
    order: Sequence[int],
    encoder: PromptEncoder,
    scorer: GroupScorer,
    stepper: Stepper,
    config: FinegrainedConfig,
    teacher: Teacher | None,
) -> dict[str, float | str | None]:
    visits = _visits(step, groups, order, encoder, config, teacher)
    values: dict[str, float | str | None] = {}
    total = 0.0
    for batch in [visits] if config.one_forward else [[visit] for visit in visits]:
        asked = [(visit.prefix, visit.bodies) for visit in batch]
        every = scorer.together(asked) if config.one_forward else [scorer(*one) for one in asked]
        results = [group_loss(scores, visit.group, config.loss) for scores, visit in zip(every, batch, strict=True)]
        loss = torch.stack([result.loss for result in results]).sum()
        total += float(loss.detach()) / len(visits)
        if not math.isfinite(total):
            found = ", ".join(f"{visit.group.query_id} of {visit.group.source}" for visit in batch)
            raise ConfigError(
                f"the loss of step {step} is {total} (query {found}); the last checkpoint is"
                " intact: lower the learning rate or use float32, then start the same command again"
            )
        loss.backward()  # type: ignore[no-untyped-call]
        last, group = results[-1], batch[-1].group
        values = {"source": group.source, "listwise": round(last.listwise, 5), **agreement(last.scores, group)}
    norm = stepper.step(step)
    return {"loss": round(total, 5), **values, "gradient_norm": round(norm, 4), "learning_rate": stepper.learning_rate(step)}


def agreement(scores: Tensor, group: Group) -> dict[str, float | None]:
    """Return whether the document with the best score is the teacher's best, and whether it is judged positive.

    A group is scored before it is trained on, so in the first epoch these are held-out figures.
    """
    best = int(scores.argmax())
    teacher = max(range(len(group.teacher)), key=group.teacher.__getitem__) if group.teacher else None
    return {
        "top_is_teachers": None if teacher is None else float(best == teacher),
        "top_is_positive": float(bool(group.relevance[best])) if any(group.relevance) else None,
        "teacher_top_is_positive": float(bool(group.relevance[teacher]))
        if teacher is not None and any(group.relevance)
        else None,
    }
