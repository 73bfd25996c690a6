"""Who speaks, over the wire: a real service, a real worker, both models in it."""

import numpy as np
import pytest
from workers.recordings import ENGLISH, GERMAN, beside, samples, silence, wav

from triptych.v1.transcription_pb2 import CHANNEL_MODE_SEPARATE, SpeakerConfig, TranscriptionConfig

pytestmark = [pytest.mark.e2e, pytest.mark.weights, pytest.mark.timeout(600)]


def test_a_call_of_two_channels_names_two_speakers_and_only_if_it_is_asked(client):
    kennedy, leopard = samples(ENGLISH), samples(GERMAN)
    call = wav(beside(np.concatenate([kennedy, silence(6)]), np.concatenate([silence(11.5), leopard])))
    config = TranscriptionConfig(channel_mode=CHANNEL_MODE_SEPARATE, enable_word_timestamps=True)
    plain = client.transcribe(call, config, timeout_s=240)
    assert {segment.speaker for segment in plain.segments} == {""}
    config.speakers.CopyFrom(SpeakerConfig(max_speaker_count=4))
    told = client.transcribe(call, config, timeout_s=240)
    assert {(segment.channel, segment.speaker) for segment in told.segments} == {(0, "S1"), (1, "S2")}
    assert all(word.speaker == segment.speaker for segment in told.segments for word in segment.words)
    assert told.text == plain.text
    assert told.speaker_model.model == "campplus-zh-en"
    assert told.speaker_model.revision
