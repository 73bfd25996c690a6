"""Every error of the suite, with its gRPC code, its reason and whether a retry helps.

    TriptychError
    ├── InvalidInput              INVALID_ARGUMENT      FieldInvalid, DeadlineRequired, MediaTypeUnsupported,
    │                                                   MediaTypeMismatch, MediaCorrupt, MediaEncrypted, InputTooLarge,
    │                                                   LanguageUnsupported, SchemaInvalid, DigestMismatch
    ├── OutOfRange                OUT_OF_RANGE          RangeOutsideSource, CursorExpired
    ├── Unauthenticated           UNAUTHENTICATED       ApiKeyMissing, ApiKeyInvalid
    ├── PermissionDenied          PERMISSION_DENIED     ScopeMissing, UriNotAllowed, WebhookNotAllowed,
    │                                                   EgressDenied
    ├── NotFound                  NOT_FOUND             JobNotFound, BlobNotFound, UploadNotFound, ModelNotFound,
    │                                                   DeliveryNotFound
    ├── RequestIdReused           ALREADY_EXISTS
    ├── PreconditionFailed        FAILED_PRECONDITION   JobNotTerminal, StageFailed
    ├── UploadOffsetMismatch      ABORTED
    ├── CapacityError             RESOURCE_EXHAUSTED    QueueFull, RateLimited, QuotaExceeded,
    │                                                   HostExhausted, AcceleratorMemoryExhausted, BudgetExhausted
    ├── Unavailable               UNAVAILABLE           BackendUnavailable, ServerDraining, NoWorker,
    │                                                   RemoteUnavailable
    ├── TimedOut                  DEADLINE_EXCEEDED     QueueTimeout, ExecutionTimeout, CallTimeout, AudioTimeout
    ├── JobCancelled              CANCELLED
    ├── FeatureDisabled           UNIMPLEMENTED
    └── InternalError             INTERNAL              WorkerLost, OutputInvalid

The domain raises these; `triptych.services.guard` turns them into gRPC statuses, a worker into `Job.error`, and the
client turns either back into the same class (`from_status`).
"""

from __future__ import annotations

import re
from typing import ClassVar

from google.protobuf.any_pb2 import Any
from google.rpc import code_pb2, error_details_pb2
from google.rpc.status_pb2 import Status

DOMAIN = "triptych"
# A status in the trailers over 8 KiB is replaced by RESOURCE_EXHAUSTED on the way: stay well under it.
MAX_STATUS_BYTES = 6000


class TriptychError(Exception):
    """The root: something went wrong, and this says what, to whom it matters and whether to try again.

    Args:
        message: One sentence for people.
        metadata: Facts for programs, as `ErrorInfo.metadata` carries them.
        retry_after_s: When a retry makes sense, if it does.
    """

    code: ClassVar[int] = code_pb2.INTERNAL
    retryable: ClassVar[bool] = False
    reason: ClassVar[str] = "INTERNAL"

    def __init_subclass__(cls) -> None:
        # The reason is the class name in the contract's spelling: MediaCorrupt -> MEDIA_CORRUPT.
        cls.reason = re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).upper()

    def __init__(
        self, message: str, *, metadata: dict[str, str] | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.metadata = metadata or {}
        self.retry_after_s = retry_after_s

    def to_status(self) -> Status:
        """Gives the `google.rpc.Status` of this error, under 6 KB, with ErrorInfo and, where it helps, RetryInfo."""
        status = Status(code=self.code, message=self.message[:1024])
        metadata = {key: value[:512] for key, value in self.metadata.items()}
        details: list[error_details_pb2.ErrorInfo | error_details_pb2.RetryInfo | error_details_pb2.BadRequest] = [
            error_details_pb2.ErrorInfo(reason=self.reason, domain=DOMAIN, metadata=metadata)
        ]
        if self.retry_after_s is not None:
            retry = error_details_pb2.RetryInfo()
            retry.retry_delay.FromMilliseconds(int(self.retry_after_s * 1000))
            details.append(retry)
        if isinstance(self, FieldInvalid):
            violation = error_details_pb2.BadRequest.FieldViolation(
                field=metadata["field"], description=self.message[:1024]
            )
            details.append(error_details_pb2.BadRequest(field_violations=[violation]))
        for detail in details:
            packed = Any()
            packed.Pack(detail)
            if status.ByteSize() + packed.ByteSize() <= MAX_STATUS_BYTES:
                status.details.append(packed)
        return status


class InvalidInput(TriptychError):
    """The request can never succeed as it is."""

    code = code_pb2.INVALID_ARGUMENT


class FieldInvalid(InvalidInput):
    """A field is missing or wrong."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}", metadata={"field": field})


class DeadlineRequired(InvalidInput):
    """A blocking call came without a deadline."""


class MediaTypeUnsupported(InvalidInput):
    """No decoder for this type."""


class MediaTypeMismatch(InvalidInput):
    """The bytes are of another type than stated."""


class MediaCorrupt(InvalidInput):
    """The bytes cannot be decoded."""


class MediaEncrypted(InvalidInput):
    """A password would be needed."""


class InputTooLarge(InvalidInput):
    """Over one of the server's limits; `setting` is what its operator may set higher."""

    def __init__(self, message: str, *, limit: float, value: float, setting: str = "") -> None:
        hint = {"hint": f"split it; or {setting} of the services allows more"} if setting else {}
        super().__init__(message, metadata={"limit": f"{limit:.15g}", "value": f"{value:.15g}", **hint})


class LanguageUnsupported(InvalidInput):
    """The model cannot do this language."""


class SchemaInvalid(InvalidInput):
    """output_json_schema is no schema, or uses what cannot be enforced."""


class DigestMismatch(InvalidInput):
    """The bytes received have another digest."""


class OutOfRange(TriptychError):
    """Outside of what there is."""

    code = code_pb2.OUT_OF_RANGE


class RangeOutsideSource(OutOfRange):
    """The source has no such page or time."""


class CursorExpired(OutOfRange):
    """The events after this cursor are no longer kept."""


class Unauthenticated(TriptychError):
    """Nobody we know."""

    code = code_pb2.UNAUTHENTICATED


class ApiKeyMissing(Unauthenticated):
    """No API key."""


class ApiKeyInvalid(Unauthenticated):
    """Unknown, revoked or expired API key."""


class PermissionDenied(TriptychError):
    """Known, but not allowed."""

    code = code_pb2.PERMISSION_DENIED


class ScopeMissing(PermissionDenied):
    """The key lacks a scope."""


class UriNotAllowed(PermissionDenied):
    """The URI's scheme or host is not allow-listed."""


class WebhookNotAllowed(PermissionDenied):
    """The webhook's host is not allow-listed, or is a private address."""


class EgressDenied(PermissionDenied):
    """The model is outside, and the policy keeps these bytes here."""


class NotFound(TriptychError):
    """No such thing, or it expired, or it is another tenant's."""

    code = code_pb2.NOT_FOUND


class JobNotFound(NotFound):
    """No such job."""


class BlobNotFound(NotFound):
    """No such blob."""


class UploadNotFound(NotFound):
    """No such upload; begin anew."""


class ModelNotFound(NotFound):
    """No such model."""


class DeliveryNotFound(NotFound):
    """No such delivery of a webhook."""


class RequestIdReused(TriptychError):
    """request_id was used for another request."""

    code = code_pb2.ALREADY_EXISTS


class PreconditionFailed(TriptychError):
    """The state of the thing does not allow it."""

    code = code_pb2.FAILED_PRECONDITION


class JobNotTerminal(PreconditionFailed):
    """Only a terminal job can be deleted or retried, or its result be written."""


class StageFailed(PreconditionFailed):
    """A child job failed."""


class UploadOffsetMismatch(TriptychError):
    """Another stream writes this upload, or the offset is wrong; ask GetUpload."""

    code = code_pb2.ABORTED


class CapacityError(TriptychError):
    """There is not enough of something."""

    code = code_pb2.RESOURCE_EXHAUSTED


class QueueFull(CapacityError):
    """The lane is full."""

    retryable = True


class RateLimited(CapacityError):
    """Too many calls in a short time."""

    retryable = True


class QuotaExceeded(CapacityError):
    """Storage or job quota used up."""


class HostExhausted(CapacityError):
    """Disk or memory of the host is nearly full."""

    retryable = True

    def __init__(self, message: str, *, resource: str, free_bytes: int, wanted_bytes: int) -> None:
        facts = {"resource": resource, "free_bytes": str(free_bytes), "wanted_bytes": str(wanted_bytes)}
        # Nobody knows when there is room; a short disk is looked through for what has expired as often as this.
        super().__init__(message, metadata=facts, retry_after_s=5)


class AcceleratorMemoryExhausted(CapacityError):
    """It does not fit the accelerator even alone."""


class BudgetExhausted(CapacityError):
    """What the tenant may spend on models outside is used up."""


class Unavailable(TriptychError):
    """Not now; try again."""

    code = code_pb2.UNAVAILABLE
    retryable = True


class BackendUnavailable(Unavailable):
    """Queue or store cannot be reached."""


class ServerDraining(Unavailable):
    """This server is shutting down; another one will answer."""


class NoWorker(Unavailable):
    """No live worker has the model."""


class RemoteUnavailable(Unavailable):
    """The server of a model outside fails or does not answer."""


class TimedOut(TriptychError):
    """It took too long."""

    code = code_pb2.DEADLINE_EXCEEDED


class QueueTimeout(TimedOut):
    """Not started within queue_timeout."""


class ExecutionTimeout(TimedOut):
    """An attempt took longer than execution_timeout."""


class CallTimeout(TimedOut):
    """The call's own deadline came before its job ended."""


class AudioTimeout(TimedOut):
    """A live call brought no audio for too long."""


class JobCancelled(TriptychError):
    """Cancelled by its caller."""

    code = code_pb2.CANCELLED


class FeatureDisabled(TriptychError):
    """Switched off in this deployment."""

    code = code_pb2.UNIMPLEMENTED


class InternalError(TriptychError):
    """A bug; the log has the trace."""


InternalError.reason = "INTERNAL"


class WorkerLost(InternalError):
    """Workers died on it as often as attempts are allowed."""


class OutputInvalid(InternalError):
    """The model's output did not satisfy the schema."""


def _subclasses(cls: type[TriptychError]) -> list[type[TriptychError]]:
    return [found for child in cls.__subclasses__() for found in (child, *_subclasses(child))]


_BY_REASON = {cls.reason: cls for cls in _subclasses(TriptychError)}
_BY_CODE = {cls.code: cls for cls in TriptychError.__subclasses__()}


def from_status(status: Status) -> TriptychError:
    """Gives the error that `TriptychError.to_status` made this status of.

    An unknown reason (of a newer server, or of gRPC itself) falls back to the code's own class.
    """
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    for detail in status.details:
        if not detail.Unpack(info):
            detail.Unpack(retry)
    cls = _BY_REASON.get(info.reason) or _BY_CODE.get(status.code) or InternalError
    error = cls.__new__(cls)
    retry_after_s = retry.retry_delay.ToMilliseconds() / 1000 if retry.HasField("retry_delay") else None
    TriptychError.__init__(error, status.message, metadata=dict(info.metadata), retry_after_s=retry_after_s)
    return error


def status_of(error: BaseException) -> Status:
    """Gives the status of any exception; one that is not ours is a bug, and its text stays in the log."""
    if isinstance(error, TriptychError):
        return error.to_status()
    return InternalError("internal error; the server's log has the details").to_status()
