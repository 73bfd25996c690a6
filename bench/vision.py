"""Tokens per second: transformers' `generate` one by one and in groups of 8, and Triptych with 16 callers at once.

    python bench/vision.py [--rounds 3] [--threads 2] [--json FILE]

32 questions, each about a picture of its own, with answers of 4 to 64 tokens, on an Idefics3 of 80 million random
weights in float32 (speed does not depend on what weights say). All three get the same PNG files and questions and
prepare the pictures themselves; a group ends with its longest answer, and what a row is given beyond its own limit is
not counted. Triptych is a real Redis, service and worker of this run's own, with the settings that it has by default;
the service and Redis share the cores, and their CPU seconds count as its own. Tokens per second of wall time are held
to the bounds, all rounds together; each round goes the other way.

Every text of Triptych has to be that which `generate` gives the question alone.
"""

import os
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from cpu_seconds import cpu_s
from proof import Proof, arguments

ALONE, GROUPS, OURS = "one by one", "groups of 8", "Triptych, 16 callers"
COUNT = 32
# As the worker has it (`triptych.workers.__main__`); read when torch is imported.
SPIN = {"GOMP_SPINCOUNT": "1000"}


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    os.environ |= SPIN
    from vision_run.model import questions, save_model
    from vision_run.ways import Answer, Way, of_transformers, triptych

    proof, asked = Proof(), questions(COUNT)
    seconds: dict[str, float] = {}
    cpu_seconds: dict[str, float] = {}
    answers: dict[str, list[Answer]] = {}
    with ExitStack() as after:
        into = Path(after.enter_context(tempfile.TemporaryDirectory(prefix="vision-")))
        folder = into / "model"
        save_model(folder)
        ways: dict[str, Way] = {
            ALONE: of_transformers(folder, given.threads, 1),
            GROUPS: of_transformers(folder, given.threads, 8),
            OURS: after.enter_context(triptych(folder, into, given.threads)),
        }
        order = list(ways)
        for name in order:
            ways[name](asked[:2])  # loaded, and memory is had
        for number in range(given.rounds):
            for name in order:
                began, began_cpu = time.monotonic(), cpu_s(os.getpid())
                answers[name] = ways[name](asked)
                took_s = time.monotonic() - began
                print(f"round {number + 1}, {name}: {took_s:.1f} s", file=sys.stderr, flush=True)
                seconds[name] = seconds.get(name, 0) + took_s
                cpu_seconds[name] = cpu_seconds.get(name, 0) + cpu_s(os.getpid()) - began_cpu
            order.reverse()
    tokens = {name: given.rounds * sum(one.token_count for one in answers[name]) for name in ways}
    speed = {name: tokens[name] / seconds[name] for name in ways}
    for name, tokens_per_s in speed.items():
        proof.found(f"{name}: tokens/s", tokens_per_s)
        proof.found(f"{name}: tokens / CPU s", tokens[name] / cpu_seconds[name])
    proof.found("tokens", sum(one.token_count for one in answers[ALONE]))
    proof.found("different texts", len({one.text for one in answers[ALONE]}))
    ratio = speed[OURS] / speed[ALONE]
    equal = sum(ours == alone for ours, alone in zip(answers[OURS], answers[ALONE], strict=True))
    proof.at_least("Triptych / groups of 8", speed[OURS] / speed[GROUPS], 1)
    proof.at_least("Triptych / one by one", ratio, 2)
    proof.at_least("texts equal to those alone", equal, COUNT)
    same = sum(group == alone for group, alone in zip(answers[GROUPS], answers[ALONE], strict=True))
    proof.found("groups: texts equal to those alone", same)
    code = proof.conclude(given.json)
    print(f"tokens/s ratio {ratio:.2f}, texts equal {equal}/{COUNT}")
    return code


if __name__ == "__main__":
    sys.exit(main())
