from google.protobuf import descriptor_pb2 as _descriptor_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor
ALIAS_FIELD_NUMBER: _ClassVar[int]
alias: _descriptor.FieldDescriptor

class Payload(_message.Message):
    __slots__ = ("data", "content_type")
    DATA_FIELD_NUMBER: _ClassVar[int]
    CONTENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    content_type: str
    def __init__(self, data: _Optional[bytes] = ..., content_type: _Optional[str] = ...) -> None: ...

class Page(_message.Message):
    __slots__ = ("page", "page_size", "limit", "offset", "page_token")
    PAGE_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page: int
    page_size: int
    limit: int
    offset: int
    page_token: str
    def __init__(self, page: _Optional[int] = ..., page_size: _Optional[int] = ..., limit: _Optional[int] = ..., offset: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ErrorReasons(_message.Message):
    __slots__ = ()
    class Reason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        UNSPECIFIED: _ClassVar[ErrorReasons.Reason]
        INVALID_FIELD: _ClassVar[ErrorReasons.Reason]
        MALFORMED_REQUEST: _ClassVar[ErrorReasons.Reason]
        INVALID_FILTER: _ClassVar[ErrorReasons.Reason]
        INVALID_PAGE_TOKEN: _ClassVar[ErrorReasons.Reason]
        RESOURCE_NOT_FOUND: _ClassVar[ErrorReasons.Reason]
        NAMESPACE_NOT_FOUND: _ClassVar[ErrorReasons.Reason]
        ROUTE_NOT_FOUND: _ClassVar[ErrorReasons.Reason]
        METHOD_NOT_ALLOWED: _ClassVar[ErrorReasons.Reason]
        NAME_TAKEN: _ClassVar[ErrorReasons.Reason]
        REQUEST_ID_REUSED: _ClassVar[ErrorReasons.Reason]
        AGENT_NAME_TAKEN: _ClassVar[ErrorReasons.Reason]
        ILLEGAL_TRANSITION: _ClassVar[ErrorReasons.Reason]
        JOB_DISABLED: _ClassVar[ErrorReasons.Reason]
        HAS_UNFINISHED_TASKS: _ClassVar[ErrorReasons.Reason]
        PROTECTED_RESOURCE: _ClassVar[ErrorReasons.Reason]
        FENCED: _ClassVar[ErrorReasons.Reason]
        ETAG_MISMATCH: _ClassVar[ErrorReasons.Reason]
        REQUEST_IN_FLIGHT: _ClassVar[ErrorReasons.Reason]
        UNAUTHENTICATED: _ClassVar[ErrorReasons.Reason]
        FORBIDDEN: _ClassVar[ErrorReasons.Reason]
        FOREIGN_ORIGIN: _ClassVar[ErrorReasons.Reason]
        OVERLOADED: _ClassVar[ErrorReasons.Reason]
        TOO_LARGE: _ClassVar[ErrorReasons.Reason]
        UNAVAILABLE: _ClassVar[ErrorReasons.Reason]
        DEADLINE_EXCEEDED: _ClassVar[ErrorReasons.Reason]
        CALL_CANCELLED: _ClassVar[ErrorReasons.Reason]
        INTERNAL: _ClassVar[ErrorReasons.Reason]
        PLUGIN_REJECTED: _ClassVar[ErrorReasons.Reason]
        PROTOCOL_VERSION_UNSUPPORTED: _ClassVar[ErrorReasons.Reason]
        NOT_OFFERED_HERE: _ClassVar[ErrorReasons.Reason]
        UNSUPPORTED_MEDIA_TYPE: _ClassVar[ErrorReasons.Reason]
        NOT_ACCEPTABLE: _ClassVar[ErrorReasons.Reason]
        STORAGE_FULL: _ClassVar[ErrorReasons.Reason]
        NO_MATCHING_AGENT: _ClassVar[ErrorReasons.Reason]
        EXECUTOR_CANNOT_PAUSE: _ClassVar[ErrorReasons.Reason]
    UNSPECIFIED: ErrorReasons.Reason
    INVALID_FIELD: ErrorReasons.Reason
    MALFORMED_REQUEST: ErrorReasons.Reason
    INVALID_FILTER: ErrorReasons.Reason
    INVALID_PAGE_TOKEN: ErrorReasons.Reason
    RESOURCE_NOT_FOUND: ErrorReasons.Reason
    NAMESPACE_NOT_FOUND: ErrorReasons.Reason
    ROUTE_NOT_FOUND: ErrorReasons.Reason
    METHOD_NOT_ALLOWED: ErrorReasons.Reason
    NAME_TAKEN: ErrorReasons.Reason
    REQUEST_ID_REUSED: ErrorReasons.Reason
    AGENT_NAME_TAKEN: ErrorReasons.Reason
    ILLEGAL_TRANSITION: ErrorReasons.Reason
    JOB_DISABLED: ErrorReasons.Reason
    HAS_UNFINISHED_TASKS: ErrorReasons.Reason
    PROTECTED_RESOURCE: ErrorReasons.Reason
    FENCED: ErrorReasons.Reason
    ETAG_MISMATCH: ErrorReasons.Reason
    REQUEST_IN_FLIGHT: ErrorReasons.Reason
    UNAUTHENTICATED: ErrorReasons.Reason
    FORBIDDEN: ErrorReasons.Reason
    FOREIGN_ORIGIN: ErrorReasons.Reason
    OVERLOADED: ErrorReasons.Reason
    TOO_LARGE: ErrorReasons.Reason
    UNAVAILABLE: ErrorReasons.Reason
    DEADLINE_EXCEEDED: ErrorReasons.Reason
    CALL_CANCELLED: ErrorReasons.Reason
    INTERNAL: ErrorReasons.Reason
    PLUGIN_REJECTED: ErrorReasons.Reason
    PROTOCOL_VERSION_UNSUPPORTED: ErrorReasons.Reason
    NOT_OFFERED_HERE: ErrorReasons.Reason
    UNSUPPORTED_MEDIA_TYPE: ErrorReasons.Reason
    NOT_ACCEPTABLE: ErrorReasons.Reason
    STORAGE_FULL: ErrorReasons.Reason
    NO_MATCHING_AGENT: ErrorReasons.Reason
    EXECUTOR_CANNOT_PAUSE: ErrorReasons.Reason
    def __init__(self) -> None: ...
