"""Makes minutes of recordings: lines by section, each with the second at which it is said."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from triptych.core.errors import FieldInvalid
from triptych.core.pipelines.plan import Section
from triptych.v1.common_pb2 import TokenUsage
from triptych.v1.reasoning_pb2 import AnswerStatus, Evidence, QuoteMatch
from triptych.workers.reasoning.claims import uncitable
from triptych.workers.reasoning.evidence import Locator
from triptych.workers.reasoning.finding import NOT_FOUND
from triptych.workers.reasoning.generation import generate, told
from triptych.workers.reasoning.ingest import together
from triptych.workers.reasoning.readings import Reading
from triptych.workers.reasoning.retrieval import count_tokens
from triptych.workers.reasoning.run import Outcome, Run, total
from triptych.workers.reasoning.summary import lines_of
from triptych.workers.reasoning.terms import terms

DEFAULT_OUTPUT_TOKENS = 192


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """One line of a section; without evidence its words are nowhere in the recording."""

    text: str
    speaker: str = ""
    evidence: Evidence | None = None


async def minutes(run: Run) -> Outcome:
    """Gives minutes of all recordings; documents that are not heard are left out.

    Raises:
        FieldInvalid: There is no recording.
        StageFailed: The model failed.
        TriptychError: What a retry may cure, a time limit or a cancellation of a child.
    """
    heard = [reading for reading in run.readings if any(mark.end_ms for mark in reading.marks)]
    if not heard and not any(one.report.audio_duration_ms for one in run.gathered):
        raise FieldInvalid("documents", f"the pipeline {run.plan.name!r} needs a recording")
    sections: dict[str, Section] = run.plan.outcome.options["sections"]

    async def said(section: Section, part: str) -> tuple[list[str], TokenUsage]:
        options = run.request.config.generation
        spec = told(section.prompt.filled(), part, options, max_output_tokens=DEFAULT_OUTPUT_TOKENS)
        generated = await generate(spec, run.children, run.timeline, run.turns, stage="summarize")
        lines = [line for line in lines_of(generated) if _belongs(line, section.words)]
        return lines, generated.usage

    asked = [
        (title, part)
        for title, section in sections.items()
        for reading in heard
        for part in spoken_parts(reading, run.prompt_tokens, section.words)
    ]
    run.timeline.expect(len(asked) - 1)
    answers = await together(said(sections[title], part) for title, part in asked)
    texts: dict[str, list[str]] = {title: [] for title in sections}
    for (title, _), (lines, _usage) in zip(asked, answers, strict=True):
        texts[title] += lines
    usage = total(each for _, each in answers)
    async with run.timeline.stage("verify"):
        found = await run.children.compute(
            "verify", lambda: {title: _placed(lines, heard, run.children.check) for title, lines in texts.items()}
        )
    return _written(found, usage, run.max_evidence_count)


def spoken_parts(reading: Reading, max_tokens: int, words: Sequence[str] = ()) -> list[str]:
    """Cuts a transcript into texts that a prompt takes, a segment a line, with its speaker if that is known.

    Args:
        reading: The transcript.
        max_tokens: Of a text, estimated.
        words: Segments without any of them are left out; none: all stay.
    """
    parts: list[list[str]] = []
    left = 0
    for index, (start, end) in enumerate(reading.lines):
        if not _belongs(reading.text[start:end], words):
            continue
        speaker = reading.speakers[index] if index < len(reading.speakers) else ""
        line = f"{speaker}: {reading.text[start:end].strip()}" if speaker else reading.text[start:end].strip()
        size = count_tokens(line)
        if not parts or size > left:
            parts.append([])
            left = max_tokens
        parts[-1].append(line)
        left -= size
    return ["\n".join(part) for part in parts]


def _belongs(text: str, words: Sequence[str]) -> bool:
    stems = {term.stem for term in terms(text)}
    return not words or any({term.stem for term in terms(word)} <= stems for word in words)


def _placed(texts: Sequence[str], heard: Sequence[Reading], check: Callable[[], None]) -> list[_Line]:
    """Finds lines in the recordings, in their order; what begins where another does is left out."""
    locator = Locator(heard, (), "", check=check)
    by_id = {reading.document_id: index for index, reading in enumerate(heard)}
    speakers = {name for reading in heard for name in reading.speakers if name}
    found: dict[tuple[int, int], _Line] = {}
    missing: list[_Line] = []
    for text in dict.fromkeys(texts):
        name, colon, rest = text.partition(":")
        words = rest.strip() if colon and name in speakers and rest.strip() else text
        evidence = locator.find(words)
        if evidence is None:
            missing.append(_Line(text=words))
            continue
        which, index = by_id[evidence.document_id], evidence.audio.segment_index
        named = heard[which].speakers
        line = _Line(text=words, speaker=named[index] if index < len(named) else "", evidence=evidence)
        found.setdefault((which, evidence.audio.start_ms), line)
    return [*(found[place] for place in sorted(found)), *missing]


def _written(sections: dict[str, list[_Line]], usage: TokenUsage, max_evidence_count: int) -> Outcome:
    lines = [line for found in sections.values() for line in found]
    if not lines:
        return Outcome(status=AnswerStatus.ANSWER_STATUS_NOT_FOUND, text=NOT_FOUND, usage=usage)
    placed = [line.evidence for line in lines if line.evidence is not None]
    missing = [
        Evidence(quote=line.text, quote_match=QuoteMatch.QUOTE_MATCH_NONE) for line in lines if line.evidence is None
    ]
    evidence = (placed + missing)[:max_evidence_count]
    for number, one in enumerate(evidence, 1):
        one.evidence_id = f"e{number}"
    written = []
    for title, found in sections.items():
        written.append("\n".join([title, *(_shown(line) for line in found)] if found else [title, "- none"]))
    return Outcome(
        status=AnswerStatus.ANSWER_STATUS_ANSWERED,
        text="\n\n".join(written),
        evidence=evidence,
        groundedness=len(placed) / len(lines),
        usage=usage,
    )


def _shown(line: _Line) -> str:
    if line.evidence is None:
        return f"- {uncitable(line.text)}"
    seconds = line.evidence.audio.start_ms // 1000
    who = f"{line.speaker}: " if line.speaker else ""
    cited = f" [{line.evidence.evidence_id}]" if line.evidence.evidence_id else ""
    return f"- {seconds // 60:02d}:{seconds % 60:02d} {who}{uncitable(line.text)}{cited}"
