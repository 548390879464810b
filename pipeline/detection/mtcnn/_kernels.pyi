"""See native/module.c; all arrays are contiguous and of the types that kernels.py gives them."""

from typing_extensions import Buffer

def variants() -> list[str]: ...
def heads(
    variant: str,
    network: int,
    weights: Buffer,
    picture: Buffer,
    height: int,
    width: int,
    windows: Buffer | None,
    out: Buffer,
    /,
) -> None: ...
def cells(
    variant: str,
    weights: Buffer,
    picture: Buffer,
    height: int,
    width: int,
    floats: bool,
    rows: int,
    columns: int,
    border: int,
    first: int,
    last: int,
    threshold: float,
    places: Buffer,
    values: Buffer,
    /,
) -> int: ...
def nms(
    variant: str, boxes: Buffer, scores: Buffer, threshold: float, smaller: bool, keep: Buffer, /
) -> int: ...
def crops(
    variant: str,
    picture: Buffer,
    height: int,
    width: int,
    windows: Buffer,
    side: int,
    out: Buffer,
    /,
) -> None: ...
def level(
    variant: str,
    picture: Buffer,
    height: int,
    width: int,
    rows: int,
    columns: int,
    border: int,
    out: Buffer,
    /,
) -> None: ...
