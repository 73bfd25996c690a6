"""Models of one worker under a memory budget: real engines with tiny weights, loaded and freed as jobs want them."""

import gc
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tiny_speech
import torch
from prometheus_client import REGISTRY

from triptych.core.catalog import Catalog
from triptych.core.errors import AcceleratorMemoryExhausted, JobCancelled
from triptych.workers.engines.speech import Decoding
from triptych.workers.engines.transformers_speech import TransformersSpeechEngine
from triptych.workers.stations import Stations
from triptych.workers.testing import StatedMeter

PATIENCE_S = 60
ENTRY = """
[models.{name}]
kind = "transcription"
engine = "transformers_speech"
licence = "LicenseRef-ours"
source = "dir:{folder}"
languages = ["en"]
"""
# All are the same weights: one takes so much.
NAMES = ("a", "b", "c")


@pytest.fixture(scope="module")
def models_file(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    folder = tiny_speech.moonshine(root / "moonshine")
    file = root / "models.toml"
    file.write_text("".join(ENTRY.format(name=name, folder=folder) for name in NAMES))
    return file


@pytest.fixture(scope="module")
def disk_bytes(models_file):
    return sum(path.stat().st_size for path in (models_file.parent / "moonshine").iterdir())


@pytest.fixture(autouse=True)
def meter(monkeypatch):
    """What the batches of all take; nothing, unless a test says so."""
    meter = StatedMeter(all_bytes=1 << 30)
    monkeypatch.setattr(TransformersSpeechEngine, "memory_meter", lambda _engine: meter)
    return meter


@pytest.fixture
def serving(settings, models_file, tmp_path):
    """Stations with a budget."""
    opened = []

    def open_with(max_memory_bytes):
        changed = settings.model_copy(
            update={
                "models_file": models_file, "models_dir": tmp_path, "speech_model": "a", "device": "cpu",
                "engine_threads": 1, "speech_compute_type": "float32", "max_memory_bytes": max_memory_bytes,
            }
        )  # fmt: skip
        stations = Stations(changed, "transcription", Catalog.load(changed))
        opened.append(stations)
        return stations

    yield open_with
    for stations in opened:
        stations.stop()


def loaded(stations):
    return sorted(one.name for one in stations._shelf.all())


def hear(station, stopped=lambda: False):
    samples = np.random.default_rng(0).standard_normal(16000).astype(np.float32) / 20
    item = station.engine.window(
        samples, language=None, decoding=Decoding(beam_size=1, temperature=0.0), stopped=stopped
    )
    return station.submit(item, lane=1, deadline=None)


def use(stations, *names):
    """A job for each model, one after the other."""
    for name in names:
        with stations.lent() as loan:
            assert hear(loan.get(name)).result(PATIENCE_S).value.text


def sample(name, model, **labels):
    return REGISTRY.get_sample_value(name, {"model": model, **labels})


def unloads(model, reason="room"):
    return sample("triptych_model_unloads_total", model, reason=reason) or 0


def test_by_default_nine_tenths_of_the_device_are_shared(serving, disk_bytes, meter):
    meter.all_bytes = int(2 * disk_bytes / 0.9) + 2
    stations = serving(0)
    use(stations, *NAMES)
    assert loaded(stations) == ["b", "c"]
    assert REGISTRY.get_sample_value("triptych_memory_budget_bytes", {"device": "cpu"}) == 2 * disk_bytes + 1


def test_where_nobody_tells_what_the_device_has_everything_stays(serving, meter):
    meter.all_bytes = 0
    stations = serving(0)
    use(stations, *NAMES)
    assert loaded(stations) == ["a", "b", "c"]


def test_every_device_has_a_budget_of_its_own(serving, disk_bytes, monkeypatch):
    cpu, gpu = StatedMeter(), StatedMeter("cuda")
    monkeypatch.setattr(
        TransformersSpeechEngine, "memory_meter", lambda engine: gpu if engine.model.model == "b" else cpu
    )
    stations = serving(disk_bytes)
    use(stations, "a", "b")
    assert loaded(stations) == ["a", "b"]
    use(stations, "c")
    assert loaded(stations) == ["b", "c"]


def test_the_longest_unused_idle_model_is_freed_for_another(serving, disk_bytes):
    stations = serving(2 * disk_bytes)
    freed = unloads("b")
    use(stations, "a", "b", "a")
    with stations.lent() as loan:
        gone = weakref.ref(loan.get("b").engine)
    use(stations, "a", "c")
    gc.collect()
    assert loaded(stations) == ["a", "c"]
    assert gone() is None, "nothing holds the weights any more"
    assert unloads("b") == freed + 1
    assert sample("triptych_model_bytes", "b") is None
    assert sample("triptych_model_bytes", "c") > 300_000
    use(stations, "b")
    assert loaded(stations) == ["b", "c"]


def test_two_models_that_fit_are_served_at_once(serving, disk_bytes):
    stations = serving(2 * disk_bytes)
    use(stations, "a", "b")  # the first batch of each is measured, alone
    both = threading.Barrier(2, timeout=PATIENCE_S)

    def job(name):
        met = []

        def meet():
            if not met:
                met.append(True)
                both.wait()
            return False

        with stations.lent() as loan:
            # Neither batch goes on before the other is under way.
            return hear(loan.get(name), stopped=meet).result(PATIENCE_S).value.model.model

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(job, ("a", "b"))) == ["a", "b"]
    assert loaded(stations) == ["a", "b"]


def test_a_model_in_use_is_waited_for_and_its_job_is_not_hurt(serving, disk_bytes):
    stations = serving(disk_bytes)
    waits = threading.Event()
    with ThreadPoolExecutor(2) as pool:
        with stations.lent() as loan:
            station = loan.get("a")

            def later():
                with stations.lent(waits.set) as other:
                    return hear(other.get("b")).result(PATIENCE_S).value.text, loaded(stations)

            second = pool.submit(later)
            assert waits.wait(PATIENCE_S)
            # Its user may go on as if nothing were; the model is lent to nobody else.
            assert loan.get("a") is station
            assert hear(station).result(PATIENCE_S).value.text
            assert not second.done()
        text, there = second.result(PATIENCE_S)
    assert text
    assert there == ["b"]


def test_new_jobs_do_not_keep_a_model_that_another_waits_for(serving, disk_bytes):
    stations = serving(disk_bytes)
    order = []
    waits = {name: threading.Event() for name in "ba"}

    def job(name):
        with stations.lent(waits[name].set) as loan:
            station = loan.get(name)
            order.append(name)
            assert hear(station).result(PATIENCE_S).value.text

    with ThreadPoolExecutor(2) as pool:
        with stations.lent() as loan:
            loan.get("a")
            first = pool.submit(job, "b")
            assert waits["b"].wait(PATIENCE_S)
            # This one would find its model loaded, but came later.
            second = pool.submit(job, "a")
            assert waits["a"].wait(PATIENCE_S)
        first.result(PATIENCE_S)
        second.result(PATIENCE_S)
    assert order == ["b", "a"]


def test_a_job_that_is_stopped_waits_no_longer_and_the_model_stays(serving, disk_bytes):
    stations = serving(disk_bytes)

    def stopped():
        raise JobCancelled("by its caller")

    with stations.lent() as loan:
        station = loan.get("a")
        with stations.lent(stopped) as other, pytest.raises(JobCancelled):
            other.get("b")
        with stations.lent() as third:
            assert third.get("a") is station
    assert loaded(stations) == ["a"]


@pytest.mark.weights
def test_the_process_of_a_whisper_that_leaves_ends(serving, models_dir, disk_bytes, monkeypatch):
    from triptych.workers.engines.whisper import WhisperEngine

    stations = serving(1_000_000_000)
    monkeypatch.setattr(stations._catalog, "models_dir", models_dir)
    with stations.lent() as loan:
        engine = loan.get("whisper-base").engine
        assert isinstance(engine, WhisperEngine)
        process = engine._whisper.model._process
        # Resident memory of the process, with what a batch of one window needs.
        assert 80_000_000 < engine.memory_bytes() < 600_000_000
    stations._budgets["cpu"].max_bytes = disk_bytes
    use(stations, "a")
    assert loaded(stations) == ["a"]
    assert process.returncode is not None


def test_what_does_not_fit_alone_is_refused_before_it_is_loaded(serving, disk_bytes):
    loads = sample("triptych_model_loads_total", "a") or 0
    stations = serving(disk_bytes - 1)
    with stations.lent() as loan, pytest.raises(AcceleratorMemoryExhausted, match="TRIPTYCH_MAX_MEMORY_BYTES") as error:
        loan.get()
    assert error.value.metadata["wanted_bytes"] == str(disk_bytes)
    assert (sample("triptych_model_loads_total", "a") or 0) == loads


def test_what_turns_out_too_large_is_given_up_and_not_tried_again(serving, disk_bytes, monkeypatch):
    stations = serving(2 * disk_bytes)
    use(stations, "b")
    built = []
    load = TransformersSpeechEngine.load
    monkeypatch.setattr(TransformersSpeechEngine, "load", lambda engine: (built.append(engine), load(engine)))
    monkeypatch.setattr(
        TransformersSpeechEngine, "memory_bytes", lambda engine: 3 * disk_bytes * (engine.model.model == "a")
    )
    for _ in range(2):
        with stations.lent() as loan, pytest.raises(AcceleratorMemoryExhausted, match=f"takes {3 * disk_bytes} bytes"):
            loan.get("a")
    assert len(built) == 1
    assert loaded(stations) == ["b"], "nobody was sent away for it"


def test_measured_sizes_count_and_not_those_on_disk(serving, disk_bytes):
    # On disk tokenizer and JSON count too.
    with serving(0).lent() as loan:
        measured = loan.get("a").engine.memory_bytes()
    assert measured < disk_bytes
    stations = serving(measured + disk_bytes)
    use(stations, "a", "b")
    assert loaded(stations) == ["a", "b"]


def test_one_job_may_use_two_models_and_two_jobs_do_not_wait_for_each_other_for_ever(serving, disk_bytes):
    stations = serving(2 * disk_bytes)
    with stations.lent() as first:
        first.get("a")
        assert first.get("b")
        with pytest.raises(AcceleratorMemoryExhausted, match="beside"):
            first.get("c")
    both = threading.Barrier(2, timeout=PATIENCE_S)

    def job(name):
        with stations.lent() as loan:
            loan.get(name)
            both.wait()
            try:
                return loan.get("c").engine.model.model
            except AcceleratorMemoryExhausted as error:
                return str(error)

    with ThreadPoolExecutor(2) as pool:
        ends = sorted(pool.map(job, ("a", "b")))
    assert ends[0] == "c"
    assert "wait for a model" in ends[1]


# Batches under the same budget.


def test_idle_models_leave_for_a_batch_that_needs_their_room(serving, disk_bytes, meter):
    stations = serving(3 * disk_bytes)
    use(stations, "a", "b", "c")
    freed = unloads("a"), unloads("b")
    meter.peak_bytes = disk_bytes
    use(stations, "c", "c")
    assert loaded(stations) == ["c"], "it takes as much again, with a margin"
    assert (unloads("a"), unloads("b")) == (freed[0] + 1, freed[1] + 1)
    assert stations._budgets["cpu"].leased_bytes() == 0


def test_a_model_in_use_does_not_leave_for_a_batch(serving, disk_bytes, meter):
    stations = serving(2 * disk_bytes)
    with stations.lent() as loan:
        station = loan.get("a")
        use(stations, "b")
        meter.peak_bytes = 10 * disk_bytes
        use(stations, "b", "b")
        assert loan.get("a") is station
    assert loaded(stations) == ["a", "b"]


def test_a_model_is_loaded_when_the_batches_of_another_leave_room(serving, disk_bytes, meter):
    stations = serving(3 * disk_bytes)
    use(stations, "a")
    meter.peak_bytes = 2 * disk_bytes
    use(stations, "a")
    runs, goes_on, loading = threading.Event(), threading.Event(), threading.Event()

    def gated():
        runs.set()
        return not goes_on.wait(PATIENCE_S)

    with ThreadPoolExecutor(1) as pool, stations.lent() as loan:
        future = hear(loan.get("a"), stopped=gated)
        assert runs.wait(PATIENCE_S)

        def other():
            with stations.lent(loading.set) as wanting:
                return wanting.get("b").engine.model.model

        second = pool.submit(other)
        assert loading.wait(PATIENCE_S), "it waits for memory, and asks whether it is still wanted"
        assert not second.done()
        goes_on.set()
        assert future.result(PATIENCE_S).value.text
        assert second.result(PATIENCE_S) == "b"


def hear_at_once(station, count):
    """Gives (texts, sizes of their batches) of different sounds that wait together for a busy engine."""
    goes_on = threading.Event()
    plug = hear(station, stopped=lambda: not goes_on.wait(PATIENCE_S))
    decoding = Decoding(beam_size=1, temperature=0.0)
    sounds = [np.random.default_rng(seed).standard_normal(16000).astype(np.float32) / 20 for seed in range(count)]
    items = [station.engine.window(sound, language=None, decoding=decoding) for sound in sounds]
    futures = [station.submit(item, lane=1, deadline=None) for item in items]
    goes_on.set()
    assert plug.result(PATIENCE_S)
    done = [future.result(PATIENCE_S) for future in futures]
    return [one.value.text for one in done], {one.batch_size for one in done}


def test_a_batch_for_which_torch_gets_no_memory_is_halved_and_the_texts_stay_the_same(serving):
    stations = serving(0)
    with stations.lent() as loan:
        station = loan.get("a")
        expected, sizes = hear_at_once(station, 8)
        assert max(sizes) > 2

        def refuse(_module, _arguments, options):
            if len(options["input_ids"]) > 2:
                torch.empty(1 << 50)  # nobody has so much: the error is torch's own

        station.engine._network.get_decoder().register_forward_pre_hook(refuse, with_kwargs=True)
        texts, sizes = hear_at_once(station, 8)
        assert texts == expected
        assert max(sizes) == 2
        # A window costs its second of audio.
        assert [value for (model, _), value in ceilings().items() if model == "a"] == [2]


def ceilings():
    return {
        (sample.labels["model"], sample.labels["key"]): sample.value
        for family in REGISTRY.collect()
        for sample in family.samples
        if sample.name == "triptych_batch_ceiling"
    }


# Models that nobody uses.


def test_an_unused_model_is_freed_after_its_time_and_loaded_again_when_it_is_wanted(serving):
    stations = serving(0)
    use(stations, "a", "b")
    loads, freed = sample("triptych_model_loads_total", "a"), unloads("a", "idle")
    stations.free_unused(3600)
    assert loaded(stations) == ["a", "b"], "an hour has not passed"
    stations.free_unused(0)
    assert loaded(stations) == []
    assert sample("triptych_model_bytes", "a") is None
    assert unloads("a", "idle") == freed + 1
    use(stations, "a")
    assert sample("triptych_model_loads_total", "a") == loads + 1


def test_a_model_in_use_is_not_freed_however_long_that_takes(serving):
    stations = serving(0)
    with stations.lent() as loan:
        station = loan.get("a")
        use(stations, "b")
        stations.free_unused(0)
        assert loaded(stations) == ["a"]
        assert hear(station).result(PATIENCE_S).value.text
    stations.free_unused(0)
    assert loaded(stations) == []


def test_nothing_is_freed_while_somebody_waits_for_a_model(serving, disk_bytes):
    stations = serving(disk_bytes)
    waits = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        with stations.lent() as loan:
            loan.get("a")

            def later():
                with stations.lent(waits.set) as other:
                    return other.get("b").engine.model.model

            second = pool.submit(later)
            assert waits.wait(PATIENCE_S)
            stations.free_unused(0)  # at once: it does not queue behind the other
            assert not second.done()
        assert second.result(PATIENCE_S) == "b"
