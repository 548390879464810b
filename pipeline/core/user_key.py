"""The key that the user keeps, by which a database is encrypted at rest."""

from __future__ import annotations

import base64
import binascii
import os
import secrets
from pathlib import Path

from facestream.engines.private_files import followed, private, read_bounded

from .errors import ConfigError, OutputError

ENVIRONMENT = "FACESTREAM_KEY"
KEY_BYTES = 32
_MOST_BYTES = 4096

# Of the process, as the umask is.
_file: Path | None = None


def use_key_file(path: Path | None) -> None:
    """Which file has the key from now on; the environment variable comes first."""
    global _file
    _file = path


def user_key() -> bytes | None:
    """The key, 32 bytes; None where none is given.

    Raises:
        ConfigError: what is given is no key, or cannot be read.
    """
    text = os.environ.get(ENVIRONMENT)
    if text:
        return parse_key(text, f"the environment variable {ENVIRONMENT}")
    return None if _file is None else read_key(_file)


def read_key(path: Path) -> bytes:
    """The key of a file.

    Raises:
        ConfigError: it cannot be read, or is no key.
    """
    try:
        text = read_bounded(Path(followed(path)), _MOST_BYTES).decode("ascii", "replace")
    except OSError as error:
        raise ConfigError(f"cannot read the key file {path}: {error.strerror}") from error
    return parse_key(text, f"the key file {path}")


def parse_key(text: str, where: str) -> bytes:
    """The 32 bytes of a key in base64 or hexadecimal.

    Raises:
        ConfigError: it is none; the text is not quoted.
    """
    word = text.strip()
    try:
        key = bytes.fromhex(word) if len(word) == 2 * KEY_BYTES else _from_base64(word)
    except (ValueError, binascii.Error):
        key = b""
    if len(key) != KEY_BYTES:
        raise ConfigError(
            f"{where} is no key of {KEY_BYTES} bytes in base64; 'facestream db key new FILE' "
            "makes one"
        )
    return key


def write_new_key(path: Path) -> bytes:
    """Make a key and write it into a new file that only the user may read.

    Raises:
        OutputError: the file exists, or cannot be written.
    """
    key = secrets.token_bytes(KEY_BYTES)
    try:
        with open(path, "xb", opener=private) as file:
            file.write(base64.b64encode(key) + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError as error:
        raise OutputError(f"{path} exists; a key is never replaced: name a new file") from error
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}") from error
    return key


def _from_base64(word: str) -> bytes:
    return base64.b64decode(word.replace("-", "+").replace("_", "/"), validate=True)
