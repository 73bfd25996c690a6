"""An hour of speech through a real worker: how soon its first words are there, and how much memory that takes.

    python bench/long_speech.py [FILES...] [--seconds 3600] [--kind mp3]

The files (tests/data/audio, or those given) are joined, again and again, until they last that long. `triptych up` with
the weights of TRIPTYCH_MODELS_DIR transcribes that once. Memory is the most that the worker and its child processes
held at one moment, shared pages counted once; the first segment is timed from the event that the attempt began, in
seconds and, for machines that have other work, in CPU seconds of the worker. Exit code 1 if memory or time is over its
bound.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from clips import samples_of
from proof import Proof
from watched_worker import Memory, cpu_s, stack

from triptych.client import Client, specs
from triptych.v1.job_pb2 import CachePolicy, JobOptions, JobState
from triptych.v1.transcription_pb2 import TranscriptionConfig
from triptych.workers.media.resampling import SAMPLE_RATE_HZ

CLIPS = Path(__file__).parents[1] / "tests" / "data" / "audio"
CODECS = {"mp3": "libmp3lame", "ogg": "libopus", "flac": "flac", "wav": "pcm_s16le", "mp4": "aac"}
MAX_MEMORY_BYTES, MAX_FIRST_S = 1.5e9, 5.0
# Between clips, so that sentences stay apart.
PAUSE = np.zeros(SAMPLE_RATE_HZ // 2, np.int16)


def join(paths: Iterable[Path], seconds: int, kind: str, target: Path) -> None:
    """Writes a file that lasts so long."""
    rate = 48_000 if kind == "ogg" else SAMPLE_RATE_HZ
    joined = np.concatenate([part for path in paths for part in (samples_of(path), PAUSE)])
    with av.open(str(target), "w", format=kind) as container:
        stream = container.add_stream(CODECS[kind], rate=rate, layout="mono")
        resampler = av.AudioResampler(
            stream.codec_context.format.name, "mono", rate, frame_size=stream.codec_context.frame_size or 1024
        )
        left = seconds * SAMPLE_RATE_HZ
        while left > 0:
            for frame in resampler.resample(frame_of(joined[:left])):
                container.mux(stream.encode(frame))
            left -= len(joined)
        for frame in resampler.resample(None):
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def frame_of(samples: npt.NDArray[np.int16]) -> Any:
    frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="mono")
    frame.sample_rate = SAMPLE_RATE_HZ
    return frame


def transcribe(client: Client, pid: int, recording: Path, config: TranscriptionConfig, proof: Proof) -> float:
    """Takes note of what the job gives; returns seconds until its first segment."""
    (source,) = client.sources([recording])
    anew = JobOptions(cache_policy=CachePolicy.CACHE_POLICY_BYPASS)
    began = first_s = 0.0
    before_s = cpu_s(pid)
    for event in client.watch_job(client.submit(specs.transcription(source, config), anew).name):
        now = time.monotonic()
        if event.HasField("job"):
            began = now if event.job.state == JobState.JOB_STATE_RUNNING else began
            job = event.job
        elif event.HasField("transcript_segment") and not first_s:
            first_s = now - began
            proof.found("first segment after, CPU s", cpu_s(pid) - before_s)
    if job.state != JobState.JOB_STATE_SUCCEEDED:
        raise RuntimeError(f"the job failed: {job.error}")
    result = client.result(job).transcription
    proof.found("all of it after, s", time.monotonic() - began)
    proof.found("segments", len(result.segments))
    proof.found("words", len(result.text.split()))
    return first_s


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="*", default=sorted(CLIPS.glob("*.opus")))
    parser.add_argument("--seconds", type=int, default=3600)
    parser.add_argument("--kind", choices=sorted(CODECS), default="mp3")
    parser.add_argument("--beam", type=int, default=5)
    parser.add_argument("--json", type=Path, help="file for the figures")
    given = parser.parse_args()
    proof = Proof()
    with tempfile.TemporaryDirectory(prefix="long-speech-") as folder:
        recording = Path(folder) / f"speech.{given.kind}"
        join(given.files, given.seconds, given.kind, recording)
        proof.found("recording, s", given.seconds)
        proof.found("recording, MB", recording.stat().st_size / 1e6)
        with (
            stack(Path(folder) / "state", "transcription") as (target, pid),
            Client(target) as client,
            Memory(pid) as memory,
        ):
            first_s = transcribe(client, pid, recording, TranscriptionConfig(beam_size=given.beam), proof)
    proof.found("load of the machine", os.getloadavg()[1])
    proof.found("worker and children before, MB", memory.before_bytes / 1e6)
    proof.at_most("worker and children at their peak, MB", memory.peak_bytes / 1e6, MAX_MEMORY_BYTES / 1e6)
    proof.at_most("first segment after, s", first_s, MAX_FIRST_S)
    return proof.conclude(given.json)


if __name__ == "__main__":
    sys.exit(main())
