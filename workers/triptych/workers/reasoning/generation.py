"""Asks the generating model once: a child job, told of on the timeline."""

from __future__ import annotations

import asyncio

from triptych.core.errors import TriptychError
from triptych.v1.job_pb2 import JobSpec
from triptych.v1.vision_pb2 import GenerationConfig, VisionResult, VisionSpec
from triptych.workers.reasoning.children import Children
from triptych.workers.reasoning.ingest import stage_failed
from triptych.workers.reasoning.prompts import conversation
from triptych.workers.reasoning.timeline import Timeline, fill

# Of one result: more would only fill the queue that others wait in.
MAX_AT_ONCE = 8


async def generate(
    spec: VisionSpec, children: Children, timeline: Timeline, turns: asyncio.Semaphore, *, stage: str
) -> VisionResult:
    """Runs a job of the generating model.

    Args:
        spec: What to do.
        children: Runs it.
        timeline: Told of it once it is its turn.
        turns: Of its request: it bounds how many run at once.
        stage: What it is called.

    Raises:
        StageFailed: The model failed.
        TriptychError: What a retry may cure, a time limit or a cancellation of the child.
    """
    try:
        async with turns, timeline.stage(stage) as entry:
            outcome = await children.run(JobSpec(vision=spec), stage=stage)
            fill(entry, outcome)
    except TriptychError as error:
        raise stage_failed(stage, error) from error
    return outcome.result.vision


def told(system: str, text: str, config: GenerationConfig, *, max_output_tokens: int) -> VisionSpec:
    """Makes a job of a prompt and a text.

    Args:
        system: The prompt.
        text: What the documents say.
        config: Options of the request.
        max_output_tokens: Where it says nothing.
    """
    options = GenerationConfig()
    options.CopyFrom(config)
    if not options.HasField("max_output_tokens"):
        options.max_output_tokens = max_output_tokens
    return VisionSpec(messages=conversation(system, text), config=options)
