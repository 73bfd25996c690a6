"""The stubs of all services on one channel, by service name."""

from __future__ import annotations

from typing import Any

from triptych.v1.blob_service_pb2_grpc import BlobServiceStub
from triptych.v1.job_service_pb2_grpc import JobServiceStub
from triptych.v1.ocr_service_pb2_grpc import OcrServiceStub
from triptych.v1.reasoning_service_pb2_grpc import ReasoningServiceStub
from triptych.v1.system_service_pb2_grpc import SystemServiceStub
from triptych.v1.transcription_service_pb2_grpc import TranscriptionServiceStub
from triptych.v1.vision_service_pb2_grpc import VisionServiceStub
from triptych.v1.webhook_service_pb2_grpc import WebhookServiceStub


def stubs_on(channel: Any) -> dict[str, Any]:
    """Gives the stubs for a channel of `grpc` or `grpc.aio`."""
    return {
        "BlobService": BlobServiceStub(channel),
        "JobService": JobServiceStub(channel),
        "OcrService": OcrServiceStub(channel),
        "ReasoningService": ReasoningServiceStub(channel),
        "SystemService": SystemServiceStub(channel),
        "TranscriptionService": TranscriptionServiceStub(channel),
        "VisionService": VisionServiceStub(channel),
        "WebhookService": WebhookServiceStub(channel),
    }
