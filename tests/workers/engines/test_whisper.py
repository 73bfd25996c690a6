"""Whisper on real weights: windows in a batch read as they read alone, and nothing is made up."""

import numpy as np
import pytest
from faster_whisper import BatchedInferencePipeline, WhisperModel
from workers.documents import OneStation
from workers.recordings import ENGLISH, GERMAN, RATE, SPANISH, noise, speech, speech_engine

from triptych.core.errors import InternalError, JobCancelled, LanguageUnsupported
from triptych.workers.engines import whisper_process
from triptych.workers.engines.speech import Decoding, Guard
from triptych.workers.engines.whisper_guard import Hypothesis, best, max_new_tokens
from triptych.workers.media.voice import VoiceFinder

CLIPS = [ENGLISH, GERMAN, SPANISH]


@pytest.fixture(scope="session")
def engine(models_dir):
    return speech_engine(models_dir)


def window(engine, samples, language=None, stopped=lambda: False, **decoding):
    return engine.window(samples, language=language, decoding=Decoding(**decoding), stopped=stopped)


def encoded_rows(engine, monkeypatch):
    """Rows of every call of the encoder, from now on."""
    rows, encode = [], engine._whisper.model.encode

    def count(features):
        rows.append(len(features))
        return encode(features)

    monkeypatch.setattr(engine._whisper.model, "encode", count)
    return rows


@pytest.mark.weights
def test_a_batch_of_mixed_languages_reads_as_each_window_alone_and_as_faster_whisper_does(engine, models_dir):
    # One window is told its language, two are detected in the same batch.
    windows = [window(engine, speech(clip), language) for clip, language in zip(CLIPS, ("en", None, None), strict=True)]
    batched = engine.run_batch(windows)
    assert [result.language_code for result in batched] == ["en", "de", "es"]
    assert [result.HasField("language_confidence") for result in batched] == [False, True, True]
    alone = [engine.run_batch([one])[0] for one in windows]
    assert [result.text for result in batched] == [result.text for result in alone]
    assert [list(result.segments[0].words) for result in batched] == [
        list(result.segments[0].words) for result in alone
    ]

    pipeline = BatchedInferencePipeline(WhisperModel(str(models_dir / "whisper-base"), "cpu", compute_type="int8"))
    for clip, result in zip(CLIPS, batched, strict=True):
        segments, _ = pipeline.transcribe(speech(clip), vad_filter=False, beam_size=5, word_timestamps=True)
        [segment] = segments
        assert result.text == segment.text.strip()
        for ours, theirs in zip(result.segments[0].words, segment.words, strict=True):
            assert ours.text == theirs.word.strip()
            # It aligns up to the next full second, we up to the last frame.
            assert (ours.start_ms, ours.end_ms) == pytest.approx((theirs.start * 1000, theirs.end * 1000), abs=40)


def cuts():
    """Windows of several lengths out of every clip."""
    for clip in CLIPS:
        heard = speech(clip)
        yield heard
        yield heard[: 2 * RATE]
        yield heard[len(heard) // 3 :]


@pytest.mark.weights
@pytest.mark.parametrize(("beam", "short"), [(5, False), (1, True)])
def test_a_result_is_the_same_to_the_last_bit_in_any_company(engine, beam, short):
    windows = [window(engine, heard, beam_size=beam, short=short) for heard in cuts()]
    windows += [window(engine, speech(SPANISH), "es", translate=True, beam_size=beam, short=short)]
    alone = [engine.run_batch([one])[0] for one in windows]
    assert sum(bool(result.text) for result in alone) >= 8
    by_key = {}
    for one, result in zip(windows, alone, strict=True):
        by_key.setdefault(engine.batch_key(one), []).append((one, result))
    assert len(by_key) == (2 if short else 1)
    for pairs in by_key.values():
        batch, expected = zip(*pairs, strict=True)
        assert engine.run_batch(batch) == list(expected)
        assert engine.run_batch(batch[::-1]) == list(expected[::-1])


@pytest.mark.weights
def test_lots_are_drawn_for_a_window_not_for_its_company_and_always_the_same(engine):
    german, spanish = (window(engine, speech(clip), temperature=1.0) for clip in (GERMAN, SPANISH))
    [alone] = engine.run_batch([german])
    assert alone.segments[0].temperature == 1.0
    assert engine.run_batch([spanish, german])[1] == alone
    assert engine.run_batch([german, german]) == [alone, alone]
    [louder] = engine.run_batch([window(engine, speech(GERMAN) * 0.7, temperature=1.0)])
    assert louder.segments[0].confidence != alone.segments[0].confidence


@pytest.mark.weights
def test_a_short_window_costs_less_and_its_words_are_where_they_were(engine, monkeypatch):
    frames, encode = [], engine._whisper.model.encode

    def note(features):
        frames.append(features.shape[2])
        return encode(features)

    monkeypatch.setattr(engine._whisper.model, "encode", note)
    for clip, read in ((GERMAN, 1500), (ENGLISH, 2000)):
        full, short = (window(engine, speech(clip), short=short) for short in (False, True))
        assert engine.batch_key(full) != engine.batch_key(short)
        assert (engine.cost(full), engine.cost(short)) == (30, read / 100)
        ([long_read], [short_read]) = (engine.run_batch([one]) for one in (full, short))
        assert frames[-2:] == [3000, read]
        assert short_read.language_code == long_read.language_code
        assert short_read.text == long_read.text
        for ours, theirs in zip(short_read.segments[0].words, long_read.segments[0].words, strict=True):
            assert (ours.start_ms, ours.end_ms) == pytest.approx((theirs.start_ms, theirs.end_ms), abs=200)


@pytest.mark.weights
@pytest.mark.parametrize(("seconds", "read"), [(0.1, 15), (10, 15), (10.1, 20), (13.3, 20), (13.4, 30), (30, 30)])
def test_the_encoder_reads_half_as_much_again_as_there_is_speech(engine, seconds, read):
    heard = np.zeros(round(seconds * RATE), np.float32)
    assert engine.cost(window(engine, heard, short=True)) == read
    assert engine.cost(window(engine, heard)) == 30


@pytest.mark.weights
def test_the_words_are_those_spoken(engine):
    [result] = engine.run_batch([window(engine, speech(ENGLISH), "en")])
    said = "and so my fellow americans, ask not what your country can do for you, ask what you can do for your country."
    assert result.text.lower() == said
    assert 0.5 < result.segments[0].confidence <= 1


@pytest.mark.weights
def test_words_are_in_order_and_within_the_window(engine):
    for clip in CLIPS:
        heard = speech(clip)
        [result] = engine.run_batch([window(engine, heard)])
        [segment] = result.segments
        times = [time for word in segment.words for time in (word.start_ms, word.end_ms)]
        assert times == sorted(times)
        assert times[0] >= 0
        assert times[-1] <= len(heard) * 1000 / RATE
        assert [word.text for word in segment.words] == segment.text.split()


@pytest.mark.weights
def test_windows_of_several_jobs_share_a_batch_and_one_encode(engine, monkeypatch):
    rows = encoded_rows(engine, monkeypatch)
    stations = OneStation(engine, max_cost=480)
    # Submitted before the batcher starts: what waits together goes together. The third has another beam.
    items = [window(engine, speech(clip), beam_size=beam) for clip, beam in zip(CLIPS, (1, 1, 2), strict=True)]
    futures = [stations.station.submit(item, lane=1, deadline=None) for item in items]
    with stations:
        done = [future.result(timeout=120) for future in futures]
    assert [one.batch_size for one in done] == [2, 2, 1]
    assert rows == [1, 1, 1]
    assert [one.value.language_code for one in done] == ["en", "de", "es"]


@pytest.mark.weights
def test_prompts_of_one_length_may_differ_within_a_batch(engine):
    heard = speech(GERMAN)
    prompts = [engine.prompt("", ["Leichenhalle"]), engine.prompt("", ["Wald und Wiesen"])[:6]]
    shortest = min(len(prompt) for prompt in prompts)
    windows = [window(engine, heard, "de", prompt=prompt[:shortest]) for prompt in prompts]
    assert len({engine.batch_key(one) for one in windows}) == 1
    batched = [result.text for result in engine.run_batch(windows)]
    assert batched == [engine.run_batch([one])[0].text for one in windows]


@pytest.mark.weights
def test_hotwords_and_prompts_favour_words(engine):
    heard = speech(GERMAN)
    plain = window(engine, heard, "de")
    for prompt in (engine.prompt("", ["Leichenhalle", "Portal"]), engine.prompt("Das Portal der Leichenhalle.", [])):
        helped = window(engine, heard, "de", prompt=prompt)
        assert engine.batch_key(helped) != engine.batch_key(plain)
        assert "Leichenhalle" in engine.run_batch([helped])[0].text


@pytest.mark.weights
def test_a_prompt_never_fills_the_decoder(engine):
    assert engine.prompt("", []) == ()
    hotwords = [f"word{number}" * 8 for number in range(64)]
    prompt = engine.prompt("long ago " * 100, hotwords)
    assert len(prompt) == 224
    [result] = engine.run_batch([window(engine, speech(GERMAN), "de", prompt=prompt)])
    assert result.text


@pytest.mark.weights
def test_translation_and_transcription_share_a_batch(engine):
    heard = speech(SPANISH)
    windows = [window(engine, heard, "es"), window(engine, heard, "es", translate=True)]
    assert engine.batch_key(windows[0]) == engine.batch_key(windows[1])
    spanish, english = engine.run_batch(windows)
    assert "arenas" in spanish.text
    assert "sand" in english.text.lower()


def seconds(count):
    return np.arange(count * RATE) / RATE


def sounds():
    """What nobody speaks in, each of which Whisper once took for words."""
    rng = np.random.default_rng(1)
    spectrum = np.fft.rfft(rng.standard_normal(8 * RATE))
    pink = np.fft.irfft(spectrum / np.sqrt(np.maximum(np.arange(len(spectrum)), 1)))
    clicks = np.zeros(8 * RATE)
    clicks[::8000] = 0.8
    yield "hiss", noise(5) / 32768
    yield "pink noise", 0.3 * pink / np.abs(pink).max()
    yield "hum", sum(0.2 / k * np.sin(2 * np.pi * 50 * k * seconds(8)) for k in (1, 2, 3, 5))
    yield "tone", 0.3 * np.sin(2 * np.pi * 440 * seconds(5))
    yield "long tone", 0.3 * np.sin(2 * np.pi * 1000 * seconds(30))
    yield "chord", sum(0.1 * np.sin(2 * np.pi * hertz * seconds(10)) for hertz in (220, 277, 330))
    yield "glide", 0.3 * np.sin(2 * np.pi * (100 + 400 * seconds(8)) * seconds(8))
    yield "clicks", clicks
    yield "nearly silence", rng.integers(-20, 21, 10 * RATE) / 32768
    yield "silence", np.zeros(6 * RATE)


@pytest.mark.weights
@pytest.mark.parametrize("short", [False, True])
def test_what_is_no_speech_is_empty_even_without_voice_detection(engine, short):
    for name, sound in sounds():
        [result] = engine.run_batch([window(engine, sound.astype(np.float32), short=short)])
        assert (result.text, len(result.segments)) == ("", 0), name


@pytest.mark.weights
@pytest.mark.parametrize("name", [name for name, _ in sounds()])
def test_voice_detection_finds_no_speech_in_it(name):
    samples = (dict(sounds())[name] * 32767).astype(np.int16)
    finder = VoiceFinder(0)
    assert [*finder.add(samples), *finder.rest()] == []


class Decodings:
    """The engine's model; notes the temperature and the number of rows of every decoding."""

    def __init__(self, model):
        self._model = model
        self.noted = []

    def __getattr__(self, name):
        return getattr(self._model, name)

    def generate(self, encoded, prompts, **options):
        self.noted.append((options["sampling_temperature"], len(prompts)))
        return self._model.generate(encoded, prompts, **options)


@pytest.fixture
def decodings(engine, monkeypatch):
    model = Decodings(engine._whisper.model)
    monkeypatch.setattr(engine._whisper, "model", model)
    return model


@pytest.mark.weights
def test_a_row_that_comes_out_badly_is_tried_again_alone(engine, decodings, monkeypatch):
    rows = encoded_rows(engine, monkeypatch)
    backwards = speech(GERMAN)[::-1].copy()
    good, bad = engine.run_batch([window(engine, speech(ENGLISH)[: 5 * RATE], "en"), window(engine, backwards, "de")])
    assert decodings.noted[0] == (0.0, 2)
    assert decodings.noted[1] == (pytest.approx(0.2), 1)
    assert all(count == 1 for _, count in decodings.noted[1:])
    assert rows == [1, 1], "the encoder's output is used again"
    assert good.text.startswith("And so")
    assert good.segments[0].temperature == 0
    assert bad.text


@pytest.mark.weights
def test_each_window_is_held_to_its_own_guard(engine, decodings):
    heard = speech(GERMAN)
    lenient = window(engine, heard, "de")
    # Nothing is ever so likely.
    strict = window(engine, heard, "de", guard=Guard(min_avg_logprob=-0.001))
    deaf = window(engine, heard, "de", guard=Guard(min_avg_logprob=-0.001, max_no_speech_probability=0.0))
    assert engine.batch_key(lenient) == engine.batch_key(strict) == engine.batch_key(deaf)
    plain, tried, silent = engine.run_batch([lenient, strict, deaf])
    assert decodings.noted == [(0.0, 3), *((pytest.approx(hotter / 5), 1) for hotter in range(1, 6))]
    assert plain.segments[0].HasField("temperature")
    assert plain.segments[0].temperature == 0
    # The likeliest of all tries, with the temperature that it was made at.
    assert tried.segments[0].confidence >= plain.segments[0].confidence
    assert silent.text == ""


@pytest.mark.weights
def test_a_temperature_that_is_given_is_the_only_one(engine):
    backwards = speech(GERMAN)[::-1].copy()
    [result] = engine.run_batch([window(engine, backwards, "de", temperature=0.0, beam_size=1)])
    assert result.language_code == "de"


@pytest.mark.weights
def test_a_stopped_row_costs_nothing(engine, monkeypatch):
    rows = encoded_rows(engine, monkeypatch)
    heard = speech(GERMAN)
    stopped = window(engine, heard, "de", stopped=lambda: True)
    results = engine.run_batch([stopped, window(engine, heard, "de"), stopped])
    assert rows == [1]
    assert [type(result) for result in results[::2]] == [JobCancelled, JobCancelled]
    assert results[1].text
    assert [type(result) for result in engine.run_batch([stopped, stopped])] == [JobCancelled, JobCancelled]
    assert rows == [1]


class Calls:
    """What the process that holds the weights is asked, from now on."""

    def __init__(self, process, monkeypatch):
        self.names = []
        self.process, self._call = process, process._call
        monkeypatch.setattr(process, "_call", self._note)

    @property
    def pid(self):
        return self.process._process.pid

    def begun(self, name, count=1):
        """A `stopped` that is true as soon as so many calls of the name have begun."""
        return lambda: self.names.count(name) >= count

    def _note(self, name, *arguments, **options):
        self.names.append(name)
        return self._call(name, *arguments, **options)


@pytest.fixture
def calls(engine, monkeypatch):
    return Calls(engine._whisper.model, monkeypatch)


@pytest.mark.weights
@pytest.mark.parametrize("step", ["encode", "detect_language", "generate", "align"])
def test_a_call_that_nobody_wants_is_left_amid_it_and_the_next_one_reads_the_same(engine, calls, monkeypatch, step):
    monkeypatch.setattr(whisper_process, "HEED_EVERY_S", 0)  # some calls are short
    [before] = engine.run_batch([window(engine, speech(GERMAN))])
    calls.names.clear()
    pid = calls.pid
    [stopped] = engine.run_batch([window(engine, speech(GERMAN), stopped=calls.begun(step))])
    assert isinstance(stopped, JobCancelled)
    assert calls.names[-1] == step
    assert calls.pid != pid, "the call was waited for"
    [after] = engine.run_batch([window(engine, speech(GERMAN))])
    assert after == before


@pytest.mark.weights
def test_a_call_goes_on_for_those_who_want_it(engine, calls):
    start = speech(ENGLISH)[: 5 * RATE]
    [alone] = engine.run_batch([window(engine, start, "en")])
    calls.names.clear()
    pid = calls.pid
    leaves = window(engine, speech(GERMAN), "de", stopped=calls.begun("generate"))
    stays, stopped = engine.run_batch([window(engine, start, "en"), leaves])
    assert isinstance(stopped, JobCancelled)
    assert stays == alone
    assert (calls.pid, calls.names) == (pid, ["encode", "encode", "generate", "align"])


@pytest.mark.weights
def test_what_was_computed_before_outlives_a_call_that_is_left(engine, calls):
    start = speech(ENGLISH)[: 5 * RATE]
    [alone] = engine.run_batch([window(engine, start, "en")])
    calls.names.clear()
    pid = calls.pid
    # It comes out badly, and is stopped when it is tried again, alone.
    leaves = window(engine, speech(GERMAN)[::-1].copy(), "de", stopped=calls.begun("generate", 2))
    stays, stopped = engine.run_batch([window(engine, start, "en"), leaves])
    assert isinstance(stopped, JobCancelled)
    assert calls.pid != pid
    assert stays == alone


@pytest.mark.weights
def test_a_process_that_dies_fails_its_call_and_another_one_takes_its_place(engine, calls):
    calls.process._process.kill()
    calls.process._process.wait()
    with pytest.raises(InternalError, match="has ended"):
        engine.run_batch([window(engine, speech(ENGLISH), "en")])
    [result] = engine.run_batch([window(engine, speech(ENGLISH), "en")])
    assert result.text


@pytest.mark.weights
def test_cudas_out_of_memory_is_pythons(engine, monkeypatch):
    def full(features):
        raise RuntimeError("CUDA failed with error out of memory")

    monkeypatch.setattr(engine._whisper.model, "encode", full)
    with pytest.raises(MemoryError):
        engine.run_batch([window(engine, speech(GERMAN))])


@pytest.mark.weights
def test_language_tags_are_bcp_47(engine):
    assert [engine.language(tag) for tag in ("en-US", "DE", "zh-Hant-TW", "nb", "jv", "pt_BR")] == [
        "en", "de", "zh", "no", "jw", "pt",
    ]  # fmt: skip
    for unknown in ("tlh", "english", "", "x" * 100):
        with pytest.raises(LanguageUnsupported):
            engine.language(unknown)


# What needs no weights.


def hypothesis(text="some text", avg_logprob=-0.3, no_speech=0.1, **guard):
    return Hypothesis(
        guard=Guard(**guard),
        temperature=0.0,
        tokens=(1,),
        text=text,
        avg_logprob=avg_logprob,
        no_speech_probability=no_speech,
    )


def test_the_guard_wants_likely_text_that_does_not_loop():
    assert hypothesis().good_enough
    assert not hypothesis(avg_logprob=-1.2).good_enough
    assert not hypothesis(text="again " * 50).good_enough
    assert hypothesis(avg_logprob=-1.2, min_avg_logprob=-1.5).good_enough
    assert hypothesis(text="again " * 50, max_compression_ratio=100).good_enough
    silent = hypothesis(avg_logprob=-1.2, no_speech=0.9)
    assert silent.silent
    assert silent.good_enough
    assert not hypothesis(avg_logprob=-1.2, no_speech=0.9, max_no_speech_probability=0.95).silent
    assert not hypothesis(no_speech=0.9).silent, "likely text is kept, whatever the model says of speech"
    assert hypothesis(avg_logprob=-0.9, no_speech=0.7).silent, "what is half likely is not"


def test_the_best_of_bad_tries_does_not_loop():
    looping, unlikely, worse = hypothesis("again " * 50), hypothesis(avg_logprob=-1.2), hypothesis(avg_logprob=-1.5)
    assert best([looping, unlikely, worse]) is unlikely
    assert best([looping]) is looping
    assert best([looping, worse, good := hypothesis()]) is good


def test_what_never_came_out_well_is_taken_for_silence_sooner():
    doubtful = hypothesis("you", avg_logprob=-1.8, no_speech=0.59)
    assert not doubtful.silent
    assert best([doubtful]) is None
    sure = hypothesis("you", avg_logprob=-1.8, no_speech=0.59, max_no_speech_probability=1)
    assert best([sure]) is sure
    assert best([doubtful, good := hypothesis(no_speech=0.59)]) is good
    assert best([hypothesis("... ...")]) is None, "signs are no words"


def test_a_bound_of_tokens_leaves_room_for_the_fastest_speech():
    assert all(max_new_tokens(speech_s) >= min(224, 32 + 16 * speech_s) for speech_s in (0.1, 3, 6, 6.1, 12, 30))
    assert max_new_tokens(6) < max_new_tokens(6.1)
