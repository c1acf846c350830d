"""What a failure of obstore means: one that may pass, or an error of ours. None of obstore's own text is passed on.

obstore 0.12 tells most failures by text alone. What stands here was read off real failures; the tests provoke each.
"""

import os
import re
from dataclasses import dataclass
from typing import Final

from frame_store.errors import (
    FrameCacheError,
    ObjectAccessError,
    ObjectChangedError,
    ObjectMissingError,
    ObjectStoreError,
)
from frame_store.shared import counted


@dataclass(frozen=True, kw_only=True, slots=True)
class Passing:
    """A failure that is tried again."""

    text: str
    max_attempts: int | None = None
    """After so many attempts in a row it is final; None where only the time counts."""
    is_break: bool = False
    """Whether connections made before are not to be used any more."""
    is_slow_down: bool = False
    """Whether the store asks for fewer requests."""
    final: type[ObjectStoreError] = ObjectStoreError
    """What it becomes when it does not pass."""


class TruncatedError(Exception):
    """Fewer bytes came than were asked for, though the answer is whole."""

    def __init__(self, num_bytes: int, asked: int) -> None:
        super().__init__(num_bytes, asked)
        self.num_bytes, self.asked = num_bytes, asked


_WRONG_ANSWERS: Final = 3
_NO_CREDENTIALS: Final = 5
_STATUS: Final = re.compile(r"Server returned non-2xx status code: (\d{3})\b")
_CODE: Final = re.compile(r"<Code>((?:[A-Z][a-z]+){2,8})</Code>")
_OF_METADATA_SERVICE: Final = re.compile(
    r"performing [A-Z]+ \w+://[^/\s]+/(?:latest/(?:api/token|meta-data)|computeMetadata|metadata/identity)"
)
_NO_BUCKET: Final = {"NoSuchBucket", "ContainerNotFound"}
_SIGNS_OF_WRONG_ANSWERS: Final = ("non-partial", "got ", "Content-Range", "Header missing", "Got invalid")
_OF_LOCAL_FILE: Final = re.compile(r"[^\n]*\(os error (\d+)\)")
_EXPIRED: Final = {"ExpiredToken", "TokenRefreshRequired", "RequestExpired"}
_VARIABLES: Final = {
    "s3": "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and, for keys that expire, AWS_SESSION_TOKEN; "
    "AWS_SKIP_SIGNATURE=true for a public bucket; files such as ~/.aws/credentials are not read",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS; GOOGLE_SKIP_SIGNATURE=true for a public bucket",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY; AZURE_SKIP_SIGNATURE=true for a public container",
}


def classified(error: BaseException, *, what: str) -> Passing | Exception | None:  # noqa: PLR0911
    """What `error` means for the object `what`; None where it is no failure of a store."""
    if isinstance(error, TruncatedError):
        return Passing(
            text=f"{counted(error.num_bytes, 'byte')} came instead of {error.asked}: the object is shorter than it "
            "was, or something on the way cuts answers off",
            max_attempts=_WRONG_ANSWERS,
        )
    if isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit | FrameCacheError):
        return None
    from obstore import exceptions as of_obstore

    text = str(error)
    if (of_this_process := _of_this_process(error, text, what)) is not None:
        return of_this_process
    if not isinstance(error, of_obstore.BaseError | OSError):
        return None
    if isinstance(error, of_obstore.InvalidPathError):
        return ObjectStoreError(
            f"{what}: an object there has a name that cannot be used here: one with '//', '.', '..' or control "
            "characters; rename or remove it"
        )
    if isinstance(error, of_obstore.NotSupportedError | of_obstore.NotModifiedError):
        return _wrong_answer(text)
    found = _STATUS.search(text)
    code = _CODE.search(text)
    if _OF_METADATA_SERVICE.search(text) or "Error performing token request" in text:
        return Passing(
            text="no credentials could be had, neither from the environment nor from a cloud that this machine is in; "
            f"give them: {_variables(what)}",
            max_attempts=_NO_CREDENTIALS,
            final=ObjectAccessError,
        )
    if found is not None:
        is_create = isinstance(error, of_obstore.AlreadyExistsError)
        return _by_status(int(found[1]), "" if code is None else code[1], what, is_create=is_create)
    if isinstance(error, of_obstore.NotFoundError | FileNotFoundError):
        return ObjectMissingError(f"{what}: is not there (404)")
    if isinstance(error, of_obstore.AlreadyExistsError):
        return FileExistsError(f"{what}: is there already")
    if isinstance(error, of_obstore.PermissionDeniedError | of_obstore.UnauthenticatedError):
        return _access_error(403, "", what)
    return _without_status(text, what)


def forget_context(error: BaseException) -> None:
    """Take obstore's errors out of the chain of an error: their text has hosts, and Python would print it."""
    while error.__context__ is not None:
        context = error.__context__
        if type(context).__module__.startswith(("obstore", "pyo3")) or "Debug source" in str(context):
            error.__context__ = None
            return
        error = context


def unfit_name(what: str) -> ObjectStoreError:
    """The error for a name that obstore refuses."""
    return ObjectStoreError(
        f"{what}: is no name of an object here: its parts may not be empty, '.' or '..', and it may have no control "
        "characters"
    )


def _of_this_process(error: BaseException, text: str, what: str) -> Exception | None:
    """The error for what obstore itself refuses, or cannot do, before any request."""
    if isinstance(error, ValueError) and text.startswith("Could not parse path"):
        return unfit_name(what)
    if type(error).__name__ == "PanicException":  # of Rust; it is no Exception
        return ObjectStoreError(
            f"{what}: obstore could not go on; the store's answer, or what the environment says of the store, is none "
            "that it knows"
        )
    if of_file := _OF_LOCAL_FILE.fullmatch(text):
        number = int(of_file[1])
        return OSError(number, f"{what}: the file that was to be put cannot be read: {os.strerror(number)}")
    return None


def _by_status(status: int, code: str, what: str, *, is_create: bool) -> Passing | Exception:  # noqa: PLR0911
    told = f"HTTP {status} {code}".strip()
    if status == 404:
        subject = "its bucket is not there" if code in _NO_BUCKET else "is not there"
        return ObjectMissingError(f"{what}: {subject} (404)")
    if (
        status == 409 and "AlreadyExists" in code
    ):  # as Azure refuses to create it; S3's 409 is one to ask again
        return FileExistsError(f"{what}: is there already")
    if status == 412:
        if is_create:
            return FileExistsError(f"{what}: is there already")
        return ObjectChangedError(f"{what}: is another object than it was (412); it was replaced meanwhile")
    if status == 416:
        return ObjectMissingError(
            f"{what}: the object ends before this range (416); it was replaced by a shorter one"
        )
    if status in {401, 403} or code in _EXPIRED:
        return _access_error(status, code, what)
    if code in {"AuthorizationHeaderMalformed", "PermanentRedirect"}:
        return _wrong_region(what)
    if code == "RequestTimeout":  # S3's 400 for a body that came too slowly
        return Passing(text=f"the store answers {told}")
    if 400 <= status < 500 and status not in {408, 409, 425, 429}:
        hint = "; S3 answers so to credentials that have expired, too" if status == 400 and not code else ""
        return ObjectStoreError(f"{what}: the store refuses the request ({told}){hint}")
    if status in {429, 503}:
        return Passing(text=f"the store answers {told} (slow down)", is_slow_down=True)
    return Passing(text=f"the store answers {told}")


def _without_status(text: str, what: str) -> Passing | Exception:  # noqa: PLR0911
    first = text.partition("\n")[0]
    if "redirect without LOCATION" in first:
        return _wrong_region(what)
    if "Missing SecretAccessKey" in first or "Missing AccessKeyId" in first:
        lacking = "AWS_SECRET_ACCESS_KEY" if "Secret" in first else "AWS_ACCESS_KEY_ID"
        return ObjectAccessError(
            f"{what}: the environment has no {lacking}, but the other half of the credentials"
        )
    if "Account must be specified" in first:
        return ObjectAccessError(f"{what}: the environment has no AZURE_STORAGE_ACCOUNT_NAME")
    if "://" not in first and any(sign in first for sign in _SIGNS_OF_WRONG_ANSWERS):
        return _wrong_answer(text)
    if "(code: AccessDenied)" in first:  # of one object of several that were to be removed
        return _access_error(403, "AccessDenied", what)
    text = "\n".join(
        line for line in text.splitlines() if "://" not in line
    )  # which have the name of the object
    if "ConnectionRefused" in text:
        return Passing(text="connection refused", is_break=True)
    if "dns error" in text:
        return Passing(text="the name of the store is not known to this machine", is_break=True)
    if "TimedOut" in text or "kind: Timeout" in text:
        return Passing(text="timed out", is_break=True)
    if "InvalidCertificate(" in text:
        return Passing(
            text="the certificate of the store is not trusted here; SSL_CERT_FILE names one of an own authority",
            is_break=True,
            max_attempts=_WRONG_ANSWERS,
        )
    return Passing(text="the connection broke", is_break=True)


def _wrong_answer(text: str) -> Passing:
    is_whole = "non-partial" in text or "Range request not supported" in text
    return Passing(
        text="a range was asked for, and the whole object came: the server, or something before it, knows no ranges"
        if is_whole
        else "the answer is not one to this request: it comes from another kind of server, or was altered on the way",
        max_attempts=_WRONG_ANSWERS,
        is_break=True,
    )


def _wrong_region(what: str) -> ObjectStoreError:
    return ObjectStoreError(
        f"{what}: the bucket is in another region; name it in the environment (AWS_REGION)"
    )


def _access_error(status: int, code: str, what: str) -> ObjectAccessError:
    told = f"HTTP {status} {code}".strip()
    if what.startswith("http"):
        return ObjectAccessError(
            f"{what}: the web server refuses the request ({told}); web servers are asked without credentials: use s3, "
            "gs or az, or a server that needs none"
        )
    if code == "RequestTimeTooSkewed":
        return ObjectAccessError(
            f"{what}: the clock of this machine is wrong, so that the store refuses it ({told})"
        )
    subject = {
        "InvalidAccessKeyId": "the store does not know the access key",
        "SignatureDoesNotMatch": "the secret key does not fit the access key",
    }.get(code, "the store refuses the credentials")
    if code in _EXPIRED:
        subject = "the credentials have expired"
    hint = (
        "; they may not do this, or there is no such object and they may not list"
        if code == "AccessDenied"
        else ""
    )
    return ObjectAccessError(
        f"{what}: {subject} ({told}){hint}; the environment gives them: {_variables(what)}"
    )


def _variables(what: str) -> str:
    return _VARIABLES.get(what.partition(":")[0], "")
