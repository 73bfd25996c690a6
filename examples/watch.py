"""Transcribes a recording and prints each sentence as soon as it is there: `python examples/watch.py FILE`."""

import asyncio
import sys

from triptych.client import AsyncClient, specs
from triptych.core.settings import Settings


async def main(file: str) -> None:
    """Submits, then follows the job's events; a broken connection goes on where it was."""
    settings = Settings()
    async with AsyncClient(settings.target, api_key=settings.api_key) as client:
        [source] = await client.sources([file])
        job = await client.submit(specs.transcription(source))
        async for event in client.watch_job(job.name):
            if event.HasField("transcript_segment"):
                segment = event.transcript_segment
                print(f"{segment.start_ms / 1000:8.2f} s  {segment.text}")


asyncio.run(main(sys.argv[1]))
