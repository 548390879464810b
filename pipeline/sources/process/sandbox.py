"""What a decoder may not do; Linux."""

from __future__ import annotations

import ctypes
import logging
import os
import resource
import signal
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

log = logging.getLogger(__name__)

# From <linux/prctl.h>.
_SET_PDEATHSIG, _SET_DUMPABLE, _SET_NO_NEW_PRIVS = 1, 4, 38
# From <linux/capability.h>: read any file, and ask whether it is being written (a lease).
_CAPABILITIES_VERSION = 0x20080522
_KEPT_CAPABILITIES = 1 << 2 | 1 << 28
# From <linux/landlock.h>; the numbers are the same on every architecture but alpha.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_ASK_VERSION = 1
_PATH_BENEATH = 1
_WRITE_FILE, _READ_FILE, _READ_DIR, _IOCTL = 2, 4, 8, 1 << 15
# Rights on files that each version of the kernel's interface knows, as bits from 0.
_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
_TRACE_SIGNALS = 1 << 1  # no signals to processes outside, from version 6 on

# What the interpreter and the libraries read later on: modules, codecs, certificates, host names.
# Not all of /etc, /proc and /dev: settings with cameras, other processes and disks lie there.
_SYSTEM = (
    *("/usr", "/lib", "/lib64", "/lib32", "/bin", "/nix/store", "/sys"),
    *("/etc/ssl", "/etc/pki", "/etc/ca-certificates", "/etc/crypto-policies", "/etc/gnutls"),
    *("/etc/resolv.conf", "/etc/hosts", "/etc/host.conf", "/etc/nsswitch.conf", "/etc/gai.conf"),
    *("/etc/services", "/etc/protocols", "/etc/localtime", "/etc/ld.so.cache", "/etc/alternatives"),
    *("/run/systemd/resolve", "/run/resolvconf", "/run/NetworkManager"),
    *("/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/sys"),
    *("/dev/zero", "/dev/random", "/dev/urandom"),
)


def harden(parent: int) -> None:
    """At the start: end with the parent, dump no core, gain no rights, be the first to be killed.

    Args:
        parent: the process that started this one.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it ended before
        os._exit(0)
    try:
        Path("/proc/self/oom_score_adj").write_text("500", encoding="ascii")
    except OSError as error:
        log.debug("oom_score_adj: %s", error)
    libc.prctl(_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    _drop_capabilities(libc)
    # A pipe that takes cores takes them whatever RLIMIT_CORE says. It also hides /proc/PID.
    libc.prctl(_SET_DUMPABLE, 0, 0, 0, 0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _drop_capabilities(libc: ctypes.CDLL) -> None:
    """Of root's rights keep what reading files takes; no other process's secrets."""
    header = ctypes.create_string_buffer(struct.pack("=Ii", _CAPABILITIES_VERSION, 0))
    # Effective, permitted, inheritable: the lower 32 of each, then the upper.
    held = ctypes.create_string_buffer(24)
    if libc.capget(header, held) == 0:
        kept = struct.unpack("=6I", held.raw)[1] & _KEPT_CAPABILITIES
        libc.capset(header, struct.pack("=6I", kept, kept, 0, 0, 0, 0))


def limit_memory(megabytes: int) -> None:
    """Memory that is not shared, of this process as a whole."""
    size = megabytes << 20
    resource.setrlimit(resource.RLIMIT_DATA, (size, size))


def restrict_files(readable: Iterable[str], device: str | None = None) -> bool:
    """Read nothing but the system, this Python and these files; write and run nothing.

    A camera's ``device`` can be written.

    Nor can the memory and the environment of other processes be read. It holds for the calling
    thread and those that it starts.

    Returns:
        False where the kernel has no Landlock (Linux 5.13) or it is off.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    version = int(libc.syscall(_CREATE_RULESET, None, 0, _ASK_VERSION))
    if version < 1:
        return False
    handled = (1 << _RIGHTS[min(version, max(_RIGHTS))]) - 1
    rules = struct.pack("=QQQ", handled, 0, _TRACE_SIGNALS if version >= 6 else 0)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    ruleset = int(libc.syscall(_CREATE_RULESET, rules, size, 0))
    if ruleset < 0:
        return False
    try:
        python = {sys.prefix, sys.base_prefix, *(path for path in sys.path if path)}
        certificates = {os.environ.get("SSL_CERT_FILE", ""), os.environ.get("SSL_CERT_DIR", "")}
        for path in (*_SYSTEM, *python, *certificates):
            _allow(libc, ruleset, path, _READ_FILE | _READ_DIR)
        for path in readable:
            _allow(libc, ruleset, path, _READ_FILE)
        for path in filter(None, ("/dev/null", device)):
            _allow(libc, ruleset, path, (_READ_FILE | _WRITE_FILE | _IOCTL) & handled)
        return int(libc.syscall(_RESTRICT_SELF, ruleset, 0)) == 0
    finally:
        os.close(ruleset)


def _allow(libc: ctypes.CDLL, ruleset: int, path: str, rights: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # there is no such path here
    try:
        if not Path(path).is_dir():
            rights &= ~_READ_DIR
        rule = struct.pack("=Qi", rights, descriptor)
        libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0)
    finally:
        os.close(descriptor)
