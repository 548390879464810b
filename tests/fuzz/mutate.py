"""Mutations of files: the same seed gives the same bytes on every machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

Mutation = Callable[[bytearray, Random], None]

LONGEST = 1 << 20
_NUMBERS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def mutated(seeds: Sequence[bytes], tokens: Sequence[bytes], rng: Random) -> bytes:
    """One of the seeds with one to eight mutations.

    Args:
        seeds: valid files of a kind.
        tokens: what means something in such files, to be written into them.
        rng: decides everything.
    """
    content = bytearray(rng.choice(seeds))

    def splice(content: bytearray, rng: Random) -> None:
        other = rng.choice(seeds)
        start = rng.randrange(len(other) + 1)
        content[_place(content, rng) :] = other[start:]

    def token(content: bytearray, rng: Random) -> None:
        if tokens:
            at, new = _place(content, rng), rng.choice(tokens)
            content[at : at + rng.choice((0, len(new)))] = new

    mutations = (*_MUTATIONS, splice, token, token)
    for _ in range(rng.choice((1, 1, 2, 3, 5, 8))):
        rng.choice(mutations)(content, rng)
    return bytes(content[:LONGEST])


def _place(content: bytearray, rng: Random) -> int:
    """Anywhere, half of the times in the header."""
    size = len(content) + 1
    return rng.randrange(min(size, 256) if rng.random() < 0.5 else size)


def _bit(content: bytearray, rng: Random) -> None:
    at = _place(content, rng)
    if at < len(content):
        content[at] ^= 1 << rng.randrange(8)


def _bytes(content: bytearray, rng: Random) -> None:
    at = _place(content, rng)
    count = rng.choice((1, 1, 2, 4, 16))
    content[at : at + count] = rng.randbytes(count)


def _number(content: bytearray, rng: Random) -> None:
    """A size or an offset."""
    at, width = _place(content, rng), rng.choice((1, 2, 4, 8))
    value = rng.choice(_NUMBERS) & (1 << 8 * width) - 1
    content[at : at + width] = value.to_bytes(width, rng.choice(("big", "little")))


def _cut_out(content: bytearray, rng: Random) -> None:
    at = _place(content, rng)
    del content[at : at + rng.choice((1, 2, 4, 64, 1024))]


def _cut_off(content: bytearray, rng: Random) -> None:
    del content[_place(content, rng) :]


def _repeat(content: bytearray, rng: Random) -> None:
    at = _place(content, rng)
    part = content[at : at + rng.choice((1, 4, 64, 512))]
    content[at:at] = part * rng.choice((1, 2, 50))


_MUTATIONS: tuple[Mutation, ...] = (_bit, _bytes, _number, _cut_out, _cut_off, _repeat)
