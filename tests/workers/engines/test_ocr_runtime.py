"""What runs the networks of text recognition, and how it is chosen."""

import importlib.metadata
import importlib.util
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from triptych.core.errors import FeatureDisabled, ModelNotFound
from triptych.workers.engines import ocr_runtime
from triptych.workers.engines.network import Lanes
from triptych.workers.engines.ocr_runtime import OcrRuntime
from triptych.workers.engines.onnx_network import has_gpu
from triptych.workers.engines.openvino_network import computes_in_bfloat16
from triptych.workers.engines.paddle_recognition import likeliest

RUNTIMES = pytest.mark.parametrize("name", ["onnxruntime", "openvino"])


def chosen(name="auto", *, device="cpu", compute_type="auto"):
    return OcrRuntime.chosen(name, device=device, threads=2, compute_type=compute_type)


ONNX_RUNTIME = f"onnxruntime/{importlib.metadata.version('onnxruntime')}"


@pytest.mark.parametrize("has_bfloat16", [True, False])
def test_by_default_lines_are_recognized_in_bfloat16_where_the_cpu_computes_in_it(monkeypatch, has_bfloat16):
    monkeypatch.setattr(ocr_runtime, "computes_in_bfloat16", lambda: has_bfloat16)
    expected = ("openvino", "bfloat16") if has_bfloat16 else ("onnxruntime", "float32")
    assert (chosen().lines, chosen().compute_type) == expected
    assert chosen().pages == "onnxruntime"


def test_who_asks_for_float32_gets_the_same_texts_on_every_cpu():
    assert chosen(compute_type="float32").version == ONNX_RUNTIME


def test_without_openvino_the_default_is_onnx_runtime(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "openvino" else object())
    assert chosen().version == ONNX_RUNTIME


def test_with_a_gpu_the_default_is_onnx_runtime(monkeypatch):
    monkeypatch.setattr(ocr_runtime, "has_gpu", lambda: True)
    assert (chosen(device="auto").lines, chosen(device="auto").on_gpu) == ("onnxruntime", True)
    assert not chosen("onnxruntime").on_gpu


def test_openvino_computes_in_bfloat16_where_the_cpu_does_and_results_say_so():
    expected = "bfloat16" if computes_in_bfloat16() else "float32"
    assert chosen("openvino").compute_type == expected
    assert chosen("openvino").version.endswith("+bfloat16") == computes_in_bfloat16()
    openvino = f"openvino/{importlib.metadata.version('openvino')}"
    assert chosen("openvino", compute_type="float32").version == openvino
    assert OcrRuntime(lines="openvino", compute_type="bfloat16").version == f"{ONNX_RUNTIME}+{openvino}+bfloat16"


def test_what_cannot_run_so_is_refused_with_a_reason(monkeypatch):
    with pytest.raises(FeatureDisabled, match="onnxruntime does not compute in bfloat16"):
        chosen("onnxruntime", compute_type="bfloat16")
    with pytest.raises(FeatureDisabled, match="OpenVINO is for CPUs"):
        chosen("openvino", device="cuda")
    monkeypatch.setattr(ocr_runtime, "computes_in_bfloat16", lambda: False)
    assert chosen("openvino").compute_type == "float32"
    with pytest.raises(FeatureDisabled, match="openvino does not compute in bfloat16 here"):
        chosen(compute_type="bfloat16")


def test_a_runtime_that_is_missing_is_named_with_its_extra(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FeatureDisabled, match=r"is not installed: pip install 'triptych\[openvino\]'") as caught:
        chosen("openvino")
    assert caught.value.metadata == {"extra": "openvino"}


def test_a_model_of_paddlepaddle_asks_for_paddlepaddle(tmp_path, monkeypatch):
    (tmp_path / "inference.pdiparams").touch()
    (tmp_path / "inference.json").touch()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FeatureDisabled, match=r"needs paddlepaddle: pip install 'triptych\[paddle\]'") as caught:
        OcrRuntime(device="cpu").load_recognizer(tmp_path)
    assert caught.value.metadata == {"extra": "paddle"}


def test_a_folder_without_a_network_is_refused(tmp_path):
    with pytest.raises(ModelNotFound, match=r"neither inference\.onnx nor inference.pdiparams"):
        OcrRuntime(device="cpu").load(tmp_path)


@pytest.mark.skipif(has_gpu(), reason="this machine has what is asked for")
def test_a_gpu_that_onnx_runtime_cannot_use_is_refused(models_dir):
    with pytest.raises(FeatureDisabled, match="install onnxruntime-gpu"):
        OcrRuntime(device="cuda").load(models_dir / "pp-ocrv6-small" / "det")


def network(models_dir, name):
    runtime = OcrRuntime(pages=name, device="cpu", threads=1)
    return runtime.load(models_dir / "pp-ocrv6-small" / "det")._network


@pytest.mark.weights
def test_onnx_runtime_leaves_a_run_amid_it(models_dir):
    run = network(models_dir, "onnxruntime").begin(np.zeros((1, 3, 2560, 2560), np.float32))
    began = time.process_time()
    with ThreadPoolExecutor(1) as thread:
        computing = thread.submit(run.result, np.copy)
        while time.process_time() < began + 0.3:  # it computes by then, and takes several times as long
            assert not computing.done()
        while not computing.done():
            run.leave()
        with pytest.raises(Exception, match=r"(?i)terminat|cancel"):
            computing.result()
    assert run.left


@pytest.mark.weights
@RUNTIMES
def test_runs_side_by_side_give_what_they_give_alone(models_dir, name):
    rng = np.random.default_rng(0)
    inputs = [rng.random((1, 3, 64, 64 + 32 * n), dtype=np.float32) for n in range(6)]
    one = network(models_dir, name)
    alone = [one.begin(values).result(np.copy) for values in inputs]
    lanes = Lanes(one, 2)
    together = lanes.run(range(6), values=inputs.__getitem__, result=np.copy, unwanted=lambda n: n == 3)
    found = dict(together)
    assert sorted(found) == [0, 1, 2, 4, 5]
    for number, output in found.items():
        assert np.array_equal(output, alone[number])


@pytest.mark.weights
@RUNTIMES
def test_runs_that_are_left_change_no_other(models_dir, name):
    rng = np.random.default_rng(0)
    inputs = [rng.standard_normal((1, 3, 48, 320 + 160 * (n % 4)), dtype=np.float32) for n in range(8)]
    runtime = OcrRuntime(lines=name, device="cpu", threads=2, compute_type=chosen(name).compute_type)
    lanes = runtime.load_recognizer(models_dir / "pp-ocrv6-small" / "rec")
    alone = [lanes._network.begin(values).result(likeliest) for values in inputs]
    kept = 0
    for _ in range(20):
        ends = time.monotonic() + rng.uniform(0, 0.3, len(inputs))
        ends[rng.integers(len(inputs))] += 100
        found = lanes.run(
            range(len(inputs)),
            values=inputs.__getitem__,
            result=likeliest,
            unwanted=lambda n, ends=ends: time.monotonic() > ends[n],
        )
        for number, classes in found:
            kept += 1
            assert np.array_equal(classes.indices, alone[number].indices)
            assert np.array_equal(classes.probabilities, alone[number].probabilities)
    assert kept >= 20  # those that were wanted all the time
    lanes.close()


def test_a_failed_run_ends_the_others_and_is_told():
    class Broken:
        left = False

        def result(self, make):
            raise ValueError("broken")

        def leave(self):
            self.left = True

    class Network:
        def begin(self, _):
            return Broken()

    with pytest.raises(ValueError, match="broken"):
        list(Lanes(Network(), 2).run(range(5), values=float, result=float, unwanted=lambda _: False))
