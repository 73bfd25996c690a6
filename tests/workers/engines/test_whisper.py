"""Whisper on real weights: windows in a batch read as they read alone, and nothing is made up."""

import numpy as np
import pytest
from faster_whisper import BatchedInferencePipeline
from workers.documents import OneStation
from workers.recordings import ENGLISH, GERMAN, RATE, SPANISH, noise, silence, speech, speech_engine

from triptych.core.errors import JobCancelled, LanguageUnsupported
from triptych.workers.engines.whisper import Decoding
from triptych.workers.engines.whisper_guard import Hypothesis, best
from triptych.workers.engines.whisper_windows import Stretch, Window, pack, speech_stretches, whole_stretches
from triptych.workers.media.audio import Audio

CLIPS = [ENGLISH, GERMAN, SPANISH]


@pytest.fixture(scope="session")
def engine(models_dir):
    return speech_engine(models_dir)


def window(engine, samples, language=None, stopped=lambda: False, **decoding):
    return engine.window(samples, language=language, decoding=Decoding(**decoding), stopped=stopped)


def encoded_rows(engine, monkeypatch):
    """Rows of every call of the encoder, from now on."""
    rows, encode = [], engine._whisper.encode

    def count(features):
        rows.append(len(features))
        return encode(features)

    monkeypatch.setattr(engine._whisper, "encode", count)
    return rows


@pytest.mark.weights
def test_a_batch_of_mixed_languages_reads_as_each_window_alone_and_as_faster_whisper_does(engine):
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

    pipeline = BatchedInferencePipeline(engine._whisper)
    for clip, result in zip(CLIPS, batched, strict=True):
        segments, _ = pipeline.transcribe(speech(clip), vad_filter=False, beam_size=5, word_timestamps=True)
        [segment] = segments
        assert result.text == segment.text.strip()
        for ours, theirs in zip(result.segments[0].words, segment.words, strict=True):
            assert ours.text == theirs.word.strip()
            # It aligns up to the next full second, we up to the last frame.
            assert (ours.start_ms, ours.end_ms) == pytest.approx((theirs.start * 1000, theirs.end * 1000), abs=40)


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
    assert rows == [2, 1]
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


@pytest.mark.weights
def test_noise_and_tones_are_empty_even_without_voice_detection(engine):
    tone = (0.3 * np.sin(2 * np.pi * 440 * np.arange(5 * RATE) / RATE)).astype(np.float32)
    hiss = noise(5).astype(np.float32) / 32768
    for result in engine.run_batch([window(engine, tone, "en"), window(engine, hiss, "en")]):
        assert result.text == ""
        assert not result.segments


@pytest.mark.weights
def test_a_row_that_comes_out_badly_is_tried_again_alone(engine, monkeypatch):
    rows = encoded_rows(engine, monkeypatch)
    batches, generate = [], engine._whisper.model.generate

    class Model:
        """The real model; notes which temperatures met how many rows."""

        def __getattr__(self, name):
            return getattr(model, name)

        def generate(self, encoded, prompts, **options):
            batches.append((options["sampling_temperature"], len(prompts)))
            return generate(encoded, prompts, **options)

    model = engine._whisper.model
    monkeypatch.setattr(engine._whisper, "model", Model())
    backwards = speech(GERMAN)[::-1].copy()
    good, bad = engine.run_batch([window(engine, speech(ENGLISH), "en"), window(engine, backwards, "de")])
    assert batches[0] == (0.0, 2)
    assert batches[1] == (0.2, 1)
    assert rows == [2], "the encoder's output is used again"
    assert good.text.startswith("And so")
    assert bad.text


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


@pytest.mark.weights
def test_cudas_out_of_memory_is_pythons(engine, monkeypatch):
    def full(features):
        raise RuntimeError("CUDA failed with error out of memory")

    monkeypatch.setattr(engine._whisper, "encode", full)
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


def hypothesis(text="some text", avg_logprob=-0.3, no_speech=0.1):
    return Hypothesis(tokens=(1,), text=text, avg_logprob=avg_logprob, no_speech_probability=no_speech)


def test_the_guard_wants_likely_text_that_does_not_loop():
    assert hypothesis().good_enough
    assert not hypothesis(avg_logprob=-1.2).good_enough
    assert not hypothesis(text="again " * 50).good_enough
    silent = hypothesis(avg_logprob=-1.2, no_speech=0.9)
    assert silent.silent
    assert silent.good_enough
    assert not hypothesis(no_speech=0.9).silent, "likely text is kept, whatever the model says of speech"


def test_the_best_of_bad_tries_does_not_loop():
    looping, unlikely, worse = hypothesis("again " * 50), hypothesis(avg_logprob=-1.2), hypothesis(avg_logprob=-1.5)
    assert best([looping, unlikely, worse]) is unlikely
    assert best([looping]) is looping
    assert best([looping, worse, good := hypothesis()]) is good


def test_windows_are_filled_up_to_30_s():
    stretches = [Stretch(start=start * RATE, end=end * RATE) for start, end in ((0, 12), (20, 33), (40, 50), (60, 90))]
    assert [window.stretches for window in pack(stretches)] == [
        tuple(stretches[:2]),
        tuple(stretches[2:3]),
        tuple(stretches[3:]),
    ]


def test_times_lead_back_to_the_audio():
    window = Window(stretches=(Stretch(start=1 * RATE, end=3 * RATE), Stretch(start=10 * RATE, end=12 * RATE)))
    assert window.duration_ms == 4000
    assert window.source_ms(0, 500) == (1000, 1500)
    assert window.source_ms(2500, 3000) == (10500, 11000)
    assert window.source_ms(1800, 2100) == (2800, 3000), "a word stays in the stretch that holds its middle"
    assert window.source_ms(3900, 4000) == (11900, 12000)


def test_speech_is_found_across_the_blocks_in_which_it_is_looked_for(monkeypatch):
    clip = speech(ENGLISH)
    spoken = (clip * 32767).astype(np.int16)
    audio = Audio(samples=np.concatenate([silence(7), spoken, silence(3), spoken, silence(5)]))
    whole = list(speech_stretches(audio, 0, len(audio.samples)))
    monkeypatch.setattr("triptych.workers.engines.whisper_windows._BLOCK_SAMPLES", 15 * RATE)
    blocks = list(speech_stretches(audio, 0, len(audio.samples)))
    edges = [(stretch.start / RATE, stretch.end / RATE) for stretch in whole]
    assert len(edges) > 1
    assert [(stretch.start / RATE, stretch.end / RATE) for stretch in blocks] == [
        pytest.approx(edge, abs=0.3) for edge in edges
    ]


def test_without_voice_detection_windows_end_at_quiet_moments():
    loud = noise(28)
    audio = Audio(samples=np.concatenate([loud, np.ones(RATE // 10, np.int16), noise(10), silence(40)]))
    first, second, *rest = whole_stretches(audio, 0, len(audio.samples))
    assert first.start == 0
    assert first.end == second.start
    assert abs(first.end - len(loud) - RATE // 20) < RATE // 20
    assert second.end - second.start <= 30 * RATE
    assert rest == [], "digital silence is left out"
