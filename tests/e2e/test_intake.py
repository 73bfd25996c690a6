"""Files are dropped into a folder while the intake is killed again and again; each gets exactly one result."""

import json
import threading
from collections import Counter

import pytest
import toy_pages
from toy_stack import Process, ToyStack, until

from triptych.v1.job_pb2 import JobState

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

FILES, COPIES = 200, 20
# The intake is killed when so many results are there: while files come, in the middle, near the end.
KILLED_AT = (15, 50, 95, 140, 180)
SETTLE_S = 0.2


def lines_of(out):
    path = out / "results.jsonl"
    return path.read_text().splitlines() if path.exists() else []


def drop(inbox, names, words):
    """Writes files as programs do that know of nobody who watches: in two halves."""
    for name in names:
        data = toy_pages.png(words[name])
        with (inbox / name).open("wb") as file:
            file.write(data[:50])
            file.flush()
            file.write(data[50:])


def test_of_200_files_each_has_one_result_though_the_intake_is_killed_five_times(tmp_path):
    inbox, out = tmp_path / "in", tmp_path / "out"
    (tmp_path / "stack").mkdir()
    inbox.mkdir()
    # The last of them have the bytes of the first.
    words = {f"{number:03}.png": f"w{number % (FILES - COPIES)}" for number in range(FILES)}
    names = list(words)
    drop(inbox, names[:80], words)
    # One worker that reads a page at a time, slowly enough that kills come in the middle.
    with ToyStack(tmp_path / "stack", tenants=("alpha",), TOY_PAGE_S=0.02) as stack, stack.client("alpha") as client:
        command = (
            "-m", "triptych.cli", "intake", "watch", inbox, "--kind", "ocr", "--out", out, "--csv",
            "--settle", SETTLE_S, "--target", stack.addresses[0], "--api-key", "alpha", "--in-flight", 8,
        )  # fmt: skip
        intake = Process(command, {}, tmp_path, "intake")
        dropping = threading.Thread(target=drop, args=(inbox, names[80:], words))
        for count in KILLED_AT:
            intake.start()
            if count == KILLED_AT[1]:
                dropping.start()
            until(lambda count=count: len(lines_of(out)) >= count)
            assert intake.kill() == -9
            assert len(lines_of(out)) < FILES, "it was done before it was killed"
        intake.start()
        dropping.join()
        until(lambda: len(list((inbox / "done").iterdir())) == FILES)
        assert intake.stop() == 0, intake.last_words()

        jobs = client.list_jobs(limit=1000)
    lines = [json.loads(line) for line in lines_of(out)]
    assert Counter(line["name"] for line in lines) == Counter(names)
    assert [line["line"] for line in lines] == list(range(1, FILES + 1))
    assert {line["name"]: line["answer"]["text"] for line in lines} == words
    assert len([line for line in lines if line["duplicate_of"]]) == COPIES
    # And bytes have one job, however often they were on their way to the services.
    assert len(jobs) == len({line["job"] for line in lines}) == FILES - COPIES
    assert {job.state for job in jobs} == {JobState.JOB_STATE_SUCCEEDED}
    assert {path.name for path in (inbox / "done").iterdir()} == set(names)
    assert {path.name for path in inbox.iterdir()} == {"done", "failed"}
    assert len(list(out.glob("*.json"))) == FILES - COPIES
    assert len((out / "results.csv").read_text().splitlines()) == FILES + 1


@pytest.mark.weights
def test_a_question_is_asked_of_what_is_dropped_and_of_what_a_manifest_names(stack, tmp_path):
    from importlib.resources import as_file, files

    inbox, out = tmp_path / "in", tmp_path / "out"
    inbox.mkdir()
    with as_file(files("triptych.cli") / "demo_data") as folder:
        (inbox / "invoice.pdf").write_bytes((folder / "invoice_scan.pdf").read_bytes())
    question = "What is the total amount due?"
    intake = Process(
        ("-m", "triptych.cli", "intake", "watch", inbox, "--out", out, "--question", question, "--settle", 0.2),
        stack.env, tmp_path, "intake",
    ).start()  # fmt: skip
    until((inbox / "done" / "invoice.pdf").exists, timeout_s=120)
    assert intake.stop() == 0
    [line] = map(json.loads, lines_of(out))
    assert (line["answer"]["status"], "610.00" in line["answer"]["text"]) == ("answered", True)
    whole = json.loads((out / line["result"]).read_text())
    assert "610.00" in whole["result"]["reasoning"]["evidence"][0]["quote"]

    (tmp_path / "list.csv").write_text(f"file,question\nin/done/invoice.pdf,{question}\n")
    done = stack.run("intake", "run", tmp_path / "list.csv", "--out", tmp_path / "other", "--json")
    assert done.returncode == 0, done.stderr
    [again] = map(json.loads, lines_of(tmp_path / "other"))
    assert again["answer"] == line["answer"]
