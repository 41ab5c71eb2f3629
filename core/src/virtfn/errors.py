"""The whole exception tree of virtfn.

Every error that crosses a package boundary is one of these, so that a caller can tell what the *user* must change
(`RequestError`) from what the *machine* refused (`HostError`) and from what a *plugin* did wrong (`PluginError`).
`reason` is a CamelCase word that becomes the reason of a Kubernetes condition; `retryable` says whether the same
call can succeed later without anybody changing the request. Foreign exceptions are chained with `from`.
"""

from __future__ import annotations

from typing import ClassVar


class VirtfnError(Exception):
    """Base of all errors of virtfn."""

    reason: ClassVar[str] = "InternalError"
    retryable: ClassVar[bool] = False


# --- plugins ---------------------------------------------------------------------------------------------------------


class PluginError(VirtfnError):
    """A plugin is missing, broken, or does not keep the contract. Names the plugin and, if known, its distribution."""

    reason = "PluginError"

    def __init__(self, message: str, *, plugin: str, distribution: str | None = None) -> None:
        super().__init__(message)
        self.plugin = plugin
        self.distribution = distribution


class PluginLoadError(PluginError):
    """The entry point could not be imported, or what it names is not a `virtfn.Plugin`."""

    reason = "PluginLoadError"


class PluginApiMismatch(PluginError):
    """The plugin was written for another version of the contract."""

    reason = "PluginApiMismatch"


class ContractViolation(PluginError):
    """A hook raised a foreign exception or returned something that the contract does not allow."""

    reason = "ContractViolation"


class AmbiguousClaimError(PluginError):
    """Two distributions name the same entry point key; neither is used."""

    reason = "AmbiguousClaim"


class NoOwnerError(PluginError):
    """No installed plugin serves the device."""

    reason = "NoOwner"


# --- requests --------------------------------------------------------------------------------------------------------


class RequestError(VirtfnError):
    """The user must change something. `field` is the path in the object that was asked for, if there is one."""

    reason = "InvalidRequest"

    def __init__(self, message: str, *, field: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.field = field
        self.hint = hint


class InvalidDocument(RequestError):
    """A file or object is not what it should be (YAML, kind, field, type)."""

    reason = "InvalidDocument"


class TooManyVfs(RequestError):
    """More VFs were asked for than the PF can make (`sriov_totalvfs`, or what the device's firmware allows)."""

    reason = "TooManyVfs"


class BadVfRange(RequestError):
    """A VF range cannot be parsed, is empty, or does not lie inside numVfs."""

    reason = "BadVfRange"


class UnsupportedEswitchMode(RequestError):
    """The device cannot be put in the eswitch mode."""

    reason = "UnsupportedEswitchMode"


class UnsupportedSetting(RequestError):
    """The device or its driver cannot do what was asked for."""

    reason = "UnsupportedSetting"


class DeviceNotFound(RequestError):
    """The request names a device that is not on this machine."""

    reason = "DeviceNotFound"


# --- the machine -----------------------------------------------------------------------------------------------------


class HostError(VirtfnError):
    """The machine refused. `device` names what refused: a PCI address, a module, a file."""

    reason = "HostError"
    retryable = True

    def __init__(self, message: str, *, device: str = "") -> None:
        super().__init__(message)
        self.device = device


class DeviceBusy(HostError):
    """Somebody uses the device (EBUSY), or a write to it does not come back.

    `vfs` are the PCI addresses of the VFs in use; `holders` the processes that hold them, as `name (pid N)`, where
    known.
    """

    reason = "DeviceBusy"

    def __init__(
        self, message: str, *, device: str = "", vfs: tuple[str, ...] = (), holders: tuple[str, ...] = ()
    ) -> None:
        super().__init__(message, device=device)
        self.vfs = vfs
        self.holders = holders


class NoMemory(HostError):
    """The kernel has no room for the VFs (ENOMEM: MMIO or bus numbers, often cured by `pci=realloc`)."""

    reason = "NoMemory"
    retryable = False


class DeviceGone(HostError):
    """The device is no longer there (ENODEV, ENXIO, or its directory vanished)."""

    reason = "DeviceGone"


class DeviceFault(HostError):
    """The device, its firmware or its driver failed (EIO, EPROTO and the like)."""

    reason = "DeviceFault"


class KernelRefused(HostError):
    """The kernel or a driver refused the setting; `errno` says how. The request or the machine must change."""

    reason = "KernelRefused"
    retryable = False

    def __init__(self, message: str, *, device: str = "", errno: int = 0) -> None:
        super().__init__(message, device=device)
        self.errno = errno


class NotEffective(HostError):
    """The kernel took a write and did not do it: what was read back differs from what was written."""

    reason = "NotEffective"


class WaitTimeout(HostError):
    """Something that was waited for did not come in time."""

    reason = "WaitTimeout"


class CommandFailed(HostError):
    """A program was missing, ended with an error, printed garbage, or did not end in time."""

    reason = "CommandFailed"

    def __init__(
        self, message: str, *, device: str = "", argv: tuple[str, ...] = (), code: int | None = None, output: str = ""
    ) -> None:
        super().__init__(message, device=device)
        self.argv = argv
        self.code = code
        self.output = output[:2000]


class OvsRefused(HostError):
    """Open vSwitch's database does not answer, or refused; or the bridge is somebody else's."""

    reason = "OvsRefused"


class LockdownActive(HostError):
    """Kernel lockdown forbids what is needed."""

    reason = "LockdownActive"
    retryable = False


class NotPermitted(HostError):
    """The process may not do this (EPERM, EACCES, EROFS): it needs root, or a mount is read-only."""

    reason = "NotPermitted"
    retryable = False


class JournalError(HostError):
    """The journal cannot be written; nothing is done to a device whose state cannot be recorded."""

    reason = "JournalError"


# --- the cluster -----------------------------------------------------------------------------------------------------


class ClusterError(VirtfnError):
    """The API server refused, or cannot be reached. `subject` names the object, `status` is the HTTP code or 0."""

    reason = "ClusterError"
    retryable = True

    def __init__(self, message: str, *, subject: str = "", status: int = 0) -> None:
        super().__init__(message)
        self.subject = subject
        self.status = status


class NotConfigured(ClusterError):
    """There is no usable way to the API server: no kubeconfig, no service account, or one that cannot be read."""

    reason = "NotConfigured"
    retryable = False


class Unavailable(ClusterError):
    """The API server cannot be reached, does not answer in time, or failed (5xx).

    `retry_after` is what the server asked to wait, in seconds; None where it did not say.
    """

    reason = "Unavailable"

    def __init__(self, message: str, *, subject: str = "", status: int = 0, retry_after: float | None = None) -> None:
        super().__init__(message, subject=subject, status=status)
        self.retry_after = retry_after


class TooManyRequests(ClusterError):
    """The API server has no room for the request now (429). `retry_after` in seconds, None where it did not say."""

    reason = "TooManyRequests"

    def __init__(self, message: str, *, subject: str = "", status: int = 429, retry_after: float | None = None) -> None:
        super().__init__(message, subject=subject, status=status)
        self.retry_after = retry_after


class EvictionBlocked(ClusterError):
    """A disruption budget does not let the pod go now. `retry_after` in seconds, None where the server did not say."""

    reason = "EvictionBlocked"

    def __init__(self, message: str, *, subject: str = "", status: int = 429, retry_after: float | None = None) -> None:
        super().__init__(message, subject=subject, status=status)
        self.retry_after = retry_after


class BadReply(ClusterError):
    """What came back is not what the API promises: no JSON, or not an object."""

    reason = "BadReply"


class Unauthorized(ClusterError):
    """The API server does not know who asks (401): the token or certificate is wrong or has expired."""

    reason = "Unauthorized"


class Forbidden(ClusterError):
    """The API server knows who asks, and does not allow it (403): a role or an admission policy must change."""

    reason = "Forbidden"
    retryable = False


class NotFound(ClusterError):
    """The object, its namespace or its kind is not on the server (404)."""

    reason = "NotFound"


class AlreadyExists(ClusterError):
    """An object of that name is on the server already."""

    reason = "AlreadyExists"


class Conflict(ClusterError):
    """The object changed since it was read, or another manager owns the field (409): read again and decide again."""

    reason = "Conflict"


class Gone(ClusterError):
    """The resource version or continue token is too old for the server (410): list again."""

    reason = "Gone"


class InvalidObject(ClusterError):
    """The API server does not take the object (400, 422). `causes` are (field path, what is wrong with it)."""

    reason = "InvalidObject"
    retryable = False

    def __init__(
        self, message: str, *, subject: str = "", status: int = 422, causes: tuple[tuple[str, str], ...] = ()
    ) -> None:
        super().__init__(message, subject=subject, status=status)
        self.causes = causes


class LeaseLost(ClusterError):
    """Another candidate leads, or the lease could not be renewed in time: this process must stop what only one does."""

    reason = "LeaseLost"
    retryable = False
