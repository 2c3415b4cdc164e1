"""Run the any-to-any matrix on an assistant and report it."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from anygpt.errors import RequestError
from anygpt.media import save_image
from anygpt.messages import Message, modality_of
from pipelines.assistant import AnyGPT, Reply
from pipelines.tiny.evaluation.picture import draw_matrix
from pipelines.tiny.evaluation.skills import TEXT_READERS, THREE_MEDIA, read_three, skills
from pipelines.tiny.evaluation.trials import CELLS, Trial, make_trials
from pipelines.tiny.world.oracle import READERS, Reading, read_text
from pipelines.tiny.world.phrases import Split
from pipelines.tiny.world.turns import SHOWABLE

BATCH = 16


@dataclass
class Score:
    """Results of one kind of trial.

    Attributes:
        passed: trials in which every expected attribute was right.
        attributes: attribute → (right, asked).
        failures: the first few failed trials in words.
    """

    trials: int = 0
    passed: int = 0
    attributes: dict[str, tuple[int, int]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Share of passed trials."""
        return self.passed / self.trials

    def add(self, trial: Trial, reading: Reading | Mapping[str, str | None], reply: Reply) -> None:
        """Count one trial."""
        right = {attribute: reading.get(attribute) == value for attribute, value in trial.expected.items()}
        for attribute, is_right in right.items():
            was_right, asked = self.attributes.get(attribute, (0, 0))
            self.attributes[attribute] = (was_right + is_right, asked + 1)
        self.trials += 1
        self.passed += all(right.values())
        if not all(right.values()) and len(self.failures) < 20:
            said = " | ".join(" ".join(map(_said, message)) for message in trial.messages)
            read = {attribute: reading.get(attribute) for attribute in trial.expected}
            self.failures.append(f"{said} → {reply.text!r}, expected {dict(trial.expected)}, read {read}")


@dataclass
class Report:
    """The matrix: "image→text" → its score, for seen and for unseen pairs."""

    stack: str
    trials: int
    seed: int
    phrasing: str
    seen: dict[str, Score]
    unseen: dict[str, Score]

    @property
    def cells(self) -> dict[tuple[str, str], str]:
        """(input, output) → name, of the matrix's cells that were measured."""
        return {cell: cell_name(*cell) for cell in CELLS if cell_name(*cell) in self.seen}

    def mean(self, unseen: bool = False) -> float:
        """Mean pass rate of the matrix's cells."""
        scores = self.unseen if unseen else self.seen
        rates = [scores[name].rate for name in self.cells.values()]
        return sum(rates) / len(rates)

    def __str__(self) -> str:
        lines = [f"{'':<28}{'seen':>7}{'unseen':>8}   wrong attributes (seen; unseen)"]
        for name, score in self.seen.items():
            other = self.unseen[name]
            wrong = f"{_wrong(score)}; {_wrong(other)}"
            lines.append(f"{name:<28}{score.rate:>7.2f}{other.rate:>8.2f}   {wrong}")
        lines.append(f"{'mean of the cells':<28}{self.mean():>7.2f}{self.mean(unseen=True):>8.2f}")
        lines.append(f"stack {self.stack}, {self.trials} trials a cell, {self.phrasing} phrasing, seed {self.seed}")
        return "\n".join(lines)


def _wrong(score: Score) -> str:
    parts = [f"{name} {asked - right}/{asked}" for name, (right, asked) in score.attributes.items() if right < asked]
    return ", ".join(parts) or "none"


def _said(part: object) -> str:
    return part if isinstance(part, str) else f"<{modality_of(part)}>"


def cell_name(source: str, target: str) -> str:
    """ "image→text"."""
    return f"{source}→{target}"


def run_matrix(model: AnyGPT, *, trials: int = 100, seed: int = 0, split: Split = "held_out") -> Report:
    """Measure every cell that the stack can do, on seen and unseen pairs; progress goes to stderr.

    Raises:
        RequestError: if `trials` is under 1.
    """
    if trials < 1:
        raise RequestError(f"trials: {trials} given, expected at least 1")
    inputs, outputs = ("text", *model.executor.input_modalities), ("text", *model.executor.output_modalities)
    kinds = {cell_name(*cell): builder for cell, builder in CELLS.items() if cell[0] in inputs and cell[1] in outputs}
    kinds |= skills(inputs[1:], outputs[1:])
    scores: dict[bool, dict[str, Score]] = {True: {}, False: {}}
    for name, builder in kinds.items():
        for seen in (True, False):
            perceived = inputs[1:] or SHOWABLE
            score = run_trials(model, make_trials(builder, name, trials, seed, split, seen, perceived))
            scores[seen][name] = score
            print(f"{name}, {'seen' if seen else 'unseen'}: {score.rate:.2f}", file=sys.stderr, flush=True)
    return Report(model.config.name, trials, seed, split, scores[True], scores[False])


def run_trials(model: AnyGPT, trials: Sequence[Trial]) -> Score:
    """Hold the trials' conversations side by side and read their last replies."""
    score = Score()
    for start in range(0, len(trials), BATCH):
        for trial, reply in last_replies(model, trials[start : start + BATCH], start):
            score.add(trial, read_reply(reply, trial), reply)
    return score


def last_replies(model: AnyGPT, trials: Sequence[Trial], first_seed: int) -> list[tuple[Trial, Reply]]:
    """Each trial with the reply to its last message; earlier replies are the model's own."""
    histories: list[tuple[Message, ...]] = [()] * len(trials)
    replies: list[Reply | None] = [None] * len(trials)
    for turn in range(max(len(trial.messages) for trial in trials)):
        going = [at for at, trial in enumerate(trials) if turn < len(trial.messages)]
        answers = model.chat_batch(
            [list(trials[at].messages[turn]) for at in going],
            histories=[histories[at] for at in going],
            seeds=[first_seed + at for at in going],
        )
        for at, answer in zip(going, answers, strict=True):
            histories[at], replies[at] = answer.conversation, answer
    return [(trial, reply) for trial, reply in zip(trials, replies, strict=True) if reply is not None]


def read_reply(reply: Reply, trial: Trial) -> Reading | Mapping[str, str | None]:
    """What the oracle reads in a reply; a reply without the medium, or with several, reads as nothing."""
    if trial.output in TEXT_READERS:
        return TEXT_READERS[trial.output](reply.text)
    if trial.output == THREE_MEDIA:
        return read_three(reply)
    if trial.output == "text":
        return read_text(reply.text, trial.about)
    media = [part for part in reply.parts if not isinstance(part, str)]
    fits = len(media) == 1 and modality_of(media[0]) == trial.output
    return READERS[trial.output](media[0]) if fits else Reading()


def write_report(report: Report, folder: Path) -> None:
    """Write `matrix.json` and `matrix.png`."""
    folder.mkdir(parents=True, exist_ok=True)
    values = asdict(report) | {"mean_seen": report.mean(), "mean_unseen": report.mean(unseen=True)}
    for kind in ("seen", "unseen"):
        for name, score in getattr(report, kind).items():
            values[kind][name]["rate"] = score.rate
    (folder / "matrix.json").write_text(json.dumps(values, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    cells = {cell: (report.seen[name].rate, report.unseen[name].rate) for cell, name in report.cells.items()}
    save_image(draw_matrix(cells), folder / "matrix.png")
