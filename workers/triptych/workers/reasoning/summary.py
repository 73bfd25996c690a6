"""Summarizes: the sentences that matter most of every part, then of those, each found again where it stands."""

from __future__ import annotations

import re
from collections.abc import Sequence

from triptych.v1.reasoning_pb2 import AnswerStatus
from triptych.v1.vision_pb2 import FinishReason, VisionResult
from triptych.workers.reasoning.evidence import Locator, ground
from triptych.workers.reasoning.finding import NOT_FOUND
from triptych.workers.reasoning.generation import generate, told
from triptych.workers.reasoning.ingest import together
from triptych.workers.reasoning.layout import CELL_GAP
from triptych.workers.reasoning.prompts import document_text, says_not_found
from triptych.workers.reasoning.retrieval import Passage, count_tokens, select
from triptych.workers.reasoning.run import Outcome, Run, total

DEFAULT_SENTENCES = 5
DEFAULT_OUTPUT_TOKENS = 256
_ITEM = re.compile(r"[ \t]*(?:[-*•]|\d{1,2}[.)])[ \t]+")


async def summarize(run: Run) -> Outcome:
    """Gives a summary of all that was read or, with the stage "retrieve", of what matters to the question.

    Every sentence is a claim: one that stands nowhere is told with evidence without a place, and lowers groundedness.

    Raises:
        StageFailed: The model failed.
        TriptychError: What a retry may cure, a time limit or a cancellation of a child.
    """
    question, shown = run.request.question.strip(), run.passages
    if run.plan.has("retrieve") and question:
        async with run.timeline.stage("retrieval"):
            shown = await run.children.compute("retrieval", lambda: select(shown, question, run.prompt_tokens))
    said = _Said(run)
    parts = [document_text(run.readings, part) for part in packed(shown, run.prompt_tokens)]
    run.timeline.expect(len(parts) - 1)
    found = await said.each("prompt", parts)
    while len(found) > 1:
        # Summaries of parts are parts again; joined by as many as fit, at least two, they become fewer.
        parts = joined(found, run.prompt_tokens)
        run.timeline.expect(len(parts))
        found = await said.each("combine", parts)
    text = "\n".join(found[0][: _sentences(run)]) if found else ""
    usage = total(said.usages)
    if not text:
        return Outcome(status=AnswerStatus.ANSWER_STATUS_NOT_FOUND, text=NOT_FOUND, usage=usage)
    async with run.timeline.stage("verify"):
        grounding = await run.children.compute(
            "verify",
            lambda: ground(
                text,
                Locator(run.readings, shown, question, check=run.children.check),
                max_evidence_count=run.max_evidence_count,
            ),
        )
    return Outcome(
        status=AnswerStatus.ANSWER_STATUS_ANSWERED,
        text=grounding.text,
        evidence=grounding.evidence,
        groundedness=grounding.groundedness,
        usage=usage,
    )


def packed(passages: Sequence[Passage], max_tokens: int) -> list[list[Passage]]:
    """Puts passages together, in order, by as many as a prompt takes."""
    parts: list[list[Passage]] = []
    left = 0
    for passage in passages:
        if not parts or passage.tokens > left:
            parts.append([])
            left = max_tokens
        parts[-1].append(passage)
        left -= passage.tokens
    return parts


def joined(found: Sequence[Sequence[str]], max_tokens: int) -> list[str]:
    """Puts summaries together, in order, by as many as a prompt takes, and by two at least."""
    parts: list[list[str]] = []
    members = left = 0
    for sentences in found:
        size = sum(count_tokens(sentence) for sentence in sentences)
        if not parts or (members >= 2 and size > left):
            parts.append([])
            members, left = 0, max_tokens
        parts[-1] += sentences
        members += 1
        left -= size
    return ["\n".join(part) for part in parts]


def lines_of(generated: VisionResult) -> list[str]:
    """Gives what a model wrote line by line, without bullets, twice the same, and lines that say that there is none.

    Of a text that was cut the last line is left out, unless it is the only one.
    """
    written = generated.text.splitlines()
    if generated.finish_reason == FinishReason.FINISH_REASON_LENGTH and len(written) > 1:
        written.pop()
    # What stands side by side was shown with bars between.
    lines = (_ITEM.sub("", line, count=1).replace(CELL_GAP, " ").strip() for line in written)
    return list(dict.fromkeys(line for line in lines if re.search(r"\w", line) and not says_not_found(line)))


class _Said:
    """What the model says to the parts of one summary."""

    def __init__(self, run: Run) -> None:
        self.usages = [VisionResult().usage]
        self._run = run

    async def each(self, prompt: str, parts: Sequence[str]) -> list[list[str]]:
        """Gives the sentences that the model chooses of each part; parts of which it chooses none are left out."""
        run = self._run
        system = run.plan.outcome.options[prompt].filled(
            question=run.request.question.strip(), max_sentences=str(_sentences(run))
        )
        return [chosen for chosen in await together(self._one(system, part) for part in parts) if chosen]

    async def _one(self, system: str, part: str) -> list[str]:
        run = self._run
        spec = told(
            system,
            "\n\n".join(filter(None, (part, run.request.question and f"Question: {run.request.question.strip()}"))),
            run.request.config.generation,
            max_output_tokens=DEFAULT_OUTPUT_TOKENS,
        )
        generated = await generate(spec, run.children, run.timeline, run.turns, stage="summarize")
        self.usages.append(generated.usage)
        return lines_of(generated)


def _sentences(run: Run) -> int:
    return int(run.plan.outcome.options.get("max_sentences", DEFAULT_SENTENCES))
