"""Does a job get lost, whatever happens? Real processes under real load, and a fault every few seconds.

    python bench/chaos.py --faults 200 [--seed 7] [--minutes 15] [--json FILE] [--dir FOLDER]

Workers and services are killed, stopped and drained, Redis is killed and stopped, the disk of the blobs is filled (a
tmpfs of its own, where one may be mounted), connections are dropped and limits of time skewed, while callers ask for
small jobs of all kinds. Then every job's history is checked against the contract, its text against what was drawn or
said, and Redis' append-only file for what was done twice. The last line is the verdict; the exit code is 1 if it is not
all zeros. The weights are taken from TRIPTYCH_MODELS_DIR. Everything stays on loopback.
"""

import argparse
import asyncio
import json
import os
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from chaos_run.aftermath import Remains, collect, until_all_ended
from chaos_run.calls import blocking
from chaos_run.disk import SmallDisk, begin_anew_with_own_mounts
from chaos_run.faults import Faults
from chaos_run.ledger import Ledger
from chaos_run.load import PATIENCE_S, Load
from chaos_run.report import figures, table
from chaos_run.samples import Samples, clip, clips, text_of
from chaos_run.stack import API_KEYS, Stack
from chaos_run.verdict import Verdict, judge

from triptych.client import AsyncClient

SECONDS_A_FAULT = 5.0
SETTLE_S = 240


def say(message: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {message}", file=sys.stderr, flush=True)


async def rehearsed(client: AsyncClient, rng: random.Random) -> Samples:
    """The samples, tried once in peace: what the engines cannot read now they could not read later."""
    heard = {name: text_of(await blocking(client, clip(name), timeout_s=60)) for name in clips()}
    samples = Samples(rng, heard)
    for sample in samples.one_of_each():
        if not sample.reason and (wrong := sample.wrong(await blocking(client, sample.spec, timeout_s=60))):
            raise SystemExit(f"{sample.name} is read as {wrong} in peace already")
    return samples


async def run(given: argparse.Namespace, folder: Path) -> tuple[dict[str, Any], Verdict]:
    began, rng = time.monotonic(), random.Random(given.seed)
    disk = SmallDisk(folder / "blobs")
    if not disk.small:
        say("no tmpfs may be mounted here: the disk will not be filled")
    stack = Stack(folder / "state", folder / "blobs")
    try:
        await stack.start()
        clients = {tenant: AsyncClient(stack.target, api_key=key) for key, tenant in API_KEYS.items()}
        samples = await rehearsed(clients["alpha"], rng)
        say(f"ready after {time.monotonic() - began:.0f} s; {given.faults} faults, seed {given.seed}")
        load = Load(clients, samples, random.Random(rng.random()))
        faults = Faults(stack, disk, load, random.Random(rng.random()))
        load.start()
        await faults.strike(given.faults, given.minutes * 60 or given.faults * SECONDS_A_FAULT)
        say(f"the last fault is over; {len(load.requests)} requests so far")
        await load.stop(PATIENCE_S + 30)
        for client in clients.values():
            await until_all_ended(client, SETTLE_S)
        say("settled; looking at what is left")
        remains: list[Remains] = []
        for tenant, client in clients.items():
            remains += await collect(client, tenant)
            await client.close()
    finally:
        disk.free()
        await stack.stop()
    verdict = judge(load.requests, remains, faults.strikes, Ledger.read(stack.append_only_file))
    return figures(load.requests, remains, faults.strikes, verdict, time.monotonic() - began), verdict


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0, help="which faults, when; 0: drawn, and told")
    parser.add_argument("--minutes", type=float, default=0, help=f"time for all faults; 0: {SECONDS_A_FAULT} s each")
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--dir", type=Path, help="folder for logs and data, kept; otherwise kept if something is wrong")
    given = parser.parse_args()
    begin_anew_with_own_mounts()
    given.seed = given.seed or random.SystemRandom().randrange(1, 1_000_000)
    # Settings of the developer's shell are not the bench's, and no proxy leads to loopback.
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or (name.startswith("TRIPTYCH_") and name != "TRIPTYCH_MODELS_DIR"):
            del os.environ[name]
    folder = given.dir or Path(tempfile.mkdtemp(prefix="triptych-chaos-"))
    found, verdict = asyncio.run(run(given, folder))
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n")
    if verdict.clean and not given.dir:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        say(f"logs and data are in {folder}")
    for problem in (*verdict.lost, *verdict.duplicated, *verdict.violations, *verdict.redone):
        print(f"- {problem}")
    print("\n".join(table(found)))
    print(verdict.line)
    return 0 if verdict.clean else 1


if __name__ == "__main__":
    sys.exit(main())
