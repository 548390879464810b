"""The parts of the search on a device against those of the CPU, to the bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from facestream.pipeline.core import boxes as cpu
from facestream.pipeline.core.boxes import NmsMode
from facestream.pipeline.core.types import Floats
from facestream.pipeline.detection.mtcnn import proposals
from facestream.pipeline.detection.mtcnn.proposals import (
    BORDER,
    Hits,
    candidates,
    pyramid,
    refined,
    suppress,
)
from facestream.pipeline.detection.mtcnn.sampling import AreaSampler
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

torch = pytest.importorskip("torch")

from facestream.pipeline.detection.resident import boxes as on_boxes
from facestream.pipeline.detection.resident import cascade, table
from facestream.pipeline.detection.resident.boxes import suppress_ranked
from facestream.pipeline.detection.resident.geometry import Geometry, geometry, map_side
from facestream.pipeline.detection.resident.lists import (
    Lengths,
    Planner,
    chosen,
    most_in_a_frame,
    place_in_frame,
    ranked,
)

NOISE = np.random.default_rng(0).integers(0, 256, (3, 97, 131, 3), dtype=np.uint8)
pytestmark = pytest.mark.usefixtures("one_torch_thread")


@pytest.fixture(scope="module")
def device(device: str) -> Any:
    return torch.device(device)


def on(device: Any, array: Any) -> Any:
    return torch.from_numpy(np.ascontiguousarray(array)).to(device)


def known(
    height: int, width: int, *, min_face: int = 20, factor: float = 0.709, padded: bool = False
) -> Geometry:
    found = geometry(height, width, min_face=min_face, factor=factor, padded=padded)
    assert found is not None
    return found


# Sampling


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize(
    ("height", "width", "min_face"), [(97, 131, 12), (97, 131, 20), (40, 41, 12), (12, 300, 12)]
)
def test_levels_are_the_cpu_s(
    device: Any, height: int, width: int, min_face: int, padded: bool
) -> None:
    frames = np.resize(NOISE, (2, height, width, 3))
    where = known(height, width, min_face=min_face, padded=padded)
    levels = pyramid(height, width, min_face=min_face, factor=0.709, border=BORDER * padded)
    grid = cascade.Grid(where, device)
    pixels = table.levels(
        *(table.summed(on(device, frames)), grid.corners, grid.heights, grid.widths, grid.filling)
    ).cpu()
    assert pixels.shape == (2, 3, where.pixels)
    for frame, mine in zip(frames, pixels.numpy(), strict=True):
        sampler = AreaSampler(frame)
        for block, level in zip(where.blocks, levels, strict=True):
            part = mine[:, block.pixel : block.pixel + block.height * block.width]
            assert (part.reshape(3, block.height, block.width) == sampler.level(level)).all()


windows = st.tuples(
    st.integers(0, 2),
    st.integers(0, 130),
    st.integers(0, 96),
    st.integers(1, 140),
    st.integers(1, 140),
)


@given(st.lists(windows, min_size=1, max_size=6), st.sampled_from([24, 48]))
def test_crops_are_the_cpu_s(device: Any, places: list[tuple[int, ...]], side: int) -> None:
    frames = np.array([place[0] for place in places])
    cut = np.array([(x, y, min(x + w, 131), min(y + h, 97)) for _, x, y, w, h in places])
    tables = table.summed(on(device, NOISE))
    crops = table.crops(tables, on(device, frames), on(device, cut), side).cpu().numpy()
    for frame, window, crop in zip(frames.tolist(), cut, crops, strict=True):
        assert (AreaSampler(NOISE[frame]).crops(window[None], side)[0] == crop).all()


@given(
    st.tuples(st.integers(-60, 130), st.integers(-60, 96)),
    st.tuples(st.integers(1, 200), st.integers(1, 200)),
    st.sampled_from([24, 48]),
)
def test_crops_beyond_the_edge_are_the_cpu_s(
    device: Any, corner: tuple[int, int], size: tuple[int, int], side: int
) -> None:
    window = np.array([[*corner, corner[0] + size[0], corner[1] + size[1]]])
    tables = table.summed(on(device, NOISE))
    crops = table.crops(tables, on(device, np.zeros(1, np.int64)), on(device, window), side)
    wanted = AreaSampler(NOISE[0]).crops(window, side)
    np.testing.assert_allclose(crops.cpu().numpy(), wanted, atol=1e-4)


def test_white_stays_white_where_a_table_overflows(device: Any) -> None:
    """4,500 × 4,500 × 255 is more than 32 bits hold."""
    white = torch.full((1, 4500, 4500, 3), 255, dtype=torch.uint8, device=device)
    window = torch.tensor([[4000, 4000, 4500, 4500]], device=device)
    frame = torch.zeros(1, dtype=torch.int64, device=device)
    assert (table.crops(table.summed(white), frame, window, 24) == 255).all()


# Geometry


@given(
    st.integers(12, 400),
    st.integers(12, 400),
    st.integers(12, 60),
    st.sampled_from([0.3, 0.5, 0.709, 0.85, 0.95]),
    st.booleans(),
)
def test_a_geometry_is_its_pyramid(
    height: int, width: int, min_face: int, factor: float, padded: bool
) -> None:
    size = (height, width)
    levels = pyramid(*size, min_face=min_face, factor=factor, border=BORDER * padded)
    found = geometry.__wrapped__(*size, min_face=min_face, factor=factor, padded=padded)
    assert (found is None) == (not levels)
    if found is None:
        return
    assert [(b.height, b.width) for b in found.blocks] == [level.shape for level in levels]
    taken = np.zeros(found.cells, np.int64)
    for index, (block, level) in enumerate(zip(found.blocks, levels, strict=True)):
        rows, columns = np.divmod(np.arange(block.rows * block.columns), block.columns)
        cells = Hits(rows, columns, np.zeros((len(rows), 5), np.float32))
        mine = block.cell + rows * block.stride + columns
        taken[mine] += 1
        assert (found.levels[mine] == index).all()
        assert (found.boxes[mine] == candidates(cells, level)[:, :4]).all()
    assert taken.max() == 1
    # No neighbour is another level's cell, or another picture's.
    for index, block in enumerate(found.blocks):
        rows, columns = np.divmod(np.arange(block.rows * block.columns), block.columns)
        mine = block.cell + rows * block.stride + columns
        around = mine[:, None] + found.near[index]
        assert around.min() >= 0
        assert around.max() < found.cells
        assert (found.levels[around][taken[around] == 1] == index).all()


@given(st.integers(30, 200), st.integers(30, 200), st.sampled_from([12, 13, 20, 40]))
def test_boxes_that_are_no_neighbours_do_not_overlap(
    height: int, width: int, min_face: int
) -> None:
    found = geometry.__wrapped__(height, width, min_face=min_face, factor=0.709)
    if found is None:
        return
    block = found.blocks[0]
    rng = np.random.default_rng(height * width)
    rows, columns = np.divmod(np.arange(block.rows * block.columns), block.columns)
    mine = block.cell + rows * block.stride + columns
    some = rng.permutation(len(mine))[:20]
    overlap = cpu.iou_matrix(found.boxes[mine[some]], found.boxes[mine])
    for row, index in zip(overlap, some.tolist(), strict=True):
        merged = set(mine[row > 0.5].tolist()) - {int(mine[index])}
        assert merged <= set((mine[index] + found.near[0]).tolist())


def test_levels_meet_only_where_their_sizes_are_close() -> None:
    assert not known(480, 640).crossing
    assert not known(480, 640, factor=0.8).crossing
    assert known(480, 640, factor=0.9).crossing


@pytest.mark.parametrize("side", [12, 13, 14, 15, 100, 217, 385])
def test_map_side_is_the_network_s(side: int) -> None:
    pooled = -(-(side - 2) // 2)
    assert map_side(side) == pooled - 4


# Lists


@given(st.lists(st.booleans(), min_size=1, max_size=50), st.integers(1, 60))
def test_chosen_places_are_in_order_and_counted(mask: list[bool], capacity: int) -> None:
    slots = chosen(torch.tensor(mask), capacity)
    true = np.flatnonzero(mask)
    assert int(slots.total) == len(true)
    assert slots.places[slots.used].tolist() == true[:capacity].tolist()
    assert slots.used.tolist() == [i < len(true) for i in range(capacity)]
    assert ((slots.places >= 0) & (slots.places < len(mask))).all()


@given(st.integers(0, 10_000), st.integers(1, 30))
def test_ranked_is_a_stable_sort_of_each_picture(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    frames, used = rng.integers(0, 3, count), rng.random(count) < 0.7
    scores = rng.choice(np.array([0, 1e-30, 0.3, 0.5, 0.99999994, 1], np.float32), count)
    for ties in ("earlier", "later"):
        order = ranked(
            torch.from_numpy(frames), torch.from_numpy(scores), torch.from_numpy(used), ties=ties
        ).tolist()
        sign = 1 if ties == "earlier" else -1
        wanted = sorted(
            np.flatnonzero(used).tolist(), key=lambda i: (frames[i], -scores[i], sign * i)
        )
        assert order[: len(wanted)] == wanted
        assert sorted(order) == list(range(count))
        places = place_in_frame(torch.from_numpy(frames)[order], torch.from_numpy(used)[order], 3)
        in_order = frames[wanted].tolist()
        for index, frame in enumerate(in_order):
            assert int(places[index]) == in_order[:index].count(frame)
    most = most_in_a_frame(torch.from_numpy(frames), torch.from_numpy(used), 3)
    assert int(most) == np.bincount(frames[used], minlength=3).max()


# Suppression


def some_boxes(seed: int, count: int) -> tuple[Floats, Floats, NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    corner = rng.integers(0, 40, (count, 2))
    rows = np.concatenate([corner, corner + rng.integers(0, 30, (count, 2))], axis=1)
    scores = (rng.integers(0, 8, count) / 7).astype(np.float32)
    return rows.astype(np.float32), scores, rng.integers(0, 3, count)


@given(
    st.integers(0, 10_000),
    st.integers(1, 40),
    st.sampled_from([0.3, 0.5, 0.7]),
    st.sampled_from(["union", "min"]),
)
def test_suppression_is_the_cpu_s(
    device: Any, seed: int, count: int, limit: float, mode: NmsMode
) -> None:
    rows, scores, frames = some_boxes(seed, count)
    used = np.random.default_rng(seed + 1).random(count) < 0.8
    order = ranked(on(device, frames), on(device, scores), on(device, used), ties="earlier")
    kept = suppress_ranked(
        on(device, rows)[order],
        on(device, frames)[order],
        on(device, used)[order],
        limit=limit,
        mode=mode,
        window=count,
        rounds=2 * count + 2,
    )
    assert bool(kept.settled)
    found = order[kept.mask].cpu().tolist()
    wanted: list[int] = []
    for frame in range(3):
        mine = np.flatnonzero(used & (frames == frame))
        wanted += mine[cpu.nms(rows[mine], scores[mine], limit, mode)].tolist()
    assert found == wanted


def test_too_few_rounds_are_noticed(device: Any) -> None:
    """A chain in which each box overlaps the one after it hangs together from end to end."""
    count = 40
    left = np.arange(count, dtype=np.float32) * 4
    rows = np.stack([left, np.zeros(count), left + 10, np.full(count, 10)], axis=1)
    rows = rows.astype(np.float32)
    scores = np.linspace(1, 0.5, count).astype(np.float32)
    frames, used = np.zeros(count, np.int64), np.ones(count, np.bool_)
    for rounds, settled in ((4, False), (2 * count, True)):
        kept = suppress_ranked(
            on(device, rows),
            on(device, frames),
            on(device, used),
            limit=0.3,
            mode="union",
            window=count,
            rounds=rounds,
        )
        assert bool(kept.settled) is settled
    assert kept.mask.nonzero()[:, 0].tolist() == cpu.nms(rows, scores, 0.3).tolist()


class Painted:
    """P-Net that sees nothing and gives these maps, level by level."""

    def __init__(self, maps: list[Any]) -> None:
        self._maps = maps
        self._next = 0

    def pnet(self, pictures: Any) -> Any:
        self._next += 1
        return self._maps[(self._next - 1) % len(self._maps)]


def cpu_proposals(maps: list[Floats], levels: Any, odds: float) -> Floats:
    parts = [
        suppress(candidates(Hits.of_maps(values, odds), level), 0.5)
        for values, level in zip(maps, levels, strict=True)
    ]
    return refined(suppress(np.concatenate(parts), 0.7))


@settings(max_examples=40)
@given(
    st.integers(0, 10_000),
    st.integers(20, 40),
    st.integers(20, 40),
    st.sampled_from([12, 16]),
    st.sampled_from([0.5, 0.709, 0.9]),
    st.floats(-1, 2),
)
def test_proposals_are_the_cpu_s(
    device: Any, seed: int, height: int, width: int, min_face: int, factor: float, bias: float
) -> None:
    """From made-up maps with many equal scores, for two pictures at once."""
    rng = np.random.default_rng(seed)
    levels = pyramid(height, width, min_face=min_face, factor=factor)
    where = geometry.__wrapped__(height, width, min_face=min_face, factor=factor)
    if where is None:
        return
    maps = []
    for block in where.blocks:
        values = rng.normal(0, 0.3, (2, 5, block.rows, block.columns))
        values[:, 0] = rng.integers(-3, 12, values[:, 0].shape) * 2 + bias
        maps.append(values.astype(np.float32))
    odds = proposals.log_odds(0.6)
    bounds = cascade.bounds_of((0.6, 0.7, 0.7))
    lengths = Lengths(2 * where.cells, 2 * where.cells, 8, 8, where.cells, 60)
    needs = cascade._Needs(lengths, device)
    frames = torch.zeros((2, height, width, 3), dtype=torch.uint8, device=device)
    painted: Any = Painted([on(device, values) for values in maps])
    found = cascade._propose(
        table.summed(frames), cascade.Grid(where, device), painted, bounds[0], needs
    )
    assert int(needs._rounds) == 0
    boxes = found.boxes[found.used].cpu().numpy()
    owners = found.frames[found.used].cpu().numpy()
    for picture in range(2):
        wanted = cpu_proposals([values[picture] for values in maps], levels, odds)
        assert np.array_equal(boxes[owners == picture], wanted)


# Arithmetic


@given(st.integers(0, 10_000))
def test_arithmetic_is_the_cpu_s(device: Any, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.normal(100, 80, (20, 4)).astype(np.float32)
    offsets = rng.normal(0, 0.3, (20, 4)).astype(np.float32)
    for inclusive in (0, 1):
        moved = on_boxes.move(on(device, rows), on(device, offsets), inclusive=inclusive)
        wanted = cpu.move(rows, offsets, inclusive=1 if inclusive else 0)
        assert np.array_equal(moved.cpu().numpy(), wanted)
        assert np.array_equal(on_boxes.square(moved).cpu().numpy(), cpu.square(wanted))
    odds = rng.normal(0, 40, 200).astype(np.float32)
    scores = on_boxes.probability(on(device, odds)).cpu().numpy()
    assert scores == pytest.approx(proposals.probability(odds), rel=3e-7)


# Lengths


def test_lengths_grow_at_once_and_shrink_late() -> None:
    planner = Planner(2)
    first = planner.lengths
    small = Lengths(1, 1, 1, 1, 1, 0)
    planner.learn(small)
    assert planner.lengths == first
    large = Lengths(5000, 900, 100, 90, 50, 24)
    planner.learn(large)
    assert planner.lengths.hold(large)
    assert planner.lengths.rounds == 24
    assert planner.lengths.cells < 2 * 5000
    for _ in range(63):
        planner.learn(small)
        assert planner.lengths.hold(large)
    planner.learn(small)
    assert planner.lengths.cells == 16
    assert planner.lengths.rounds == 24


class Blank:
    """Networks that give results of the right shape, wherever they are asked for."""

    def pnet(self, pictures: Any) -> Any:
        count, _, height, width = pictures.shape
        return pictures.new_zeros((count, 5, map_side(height), map_side(width)))

    def rnet(self, crops: Any) -> Any:
        return crops.new_zeros((len(crops), 5))

    def onet(self, crops: Any) -> Any:
        return crops.new_zeros((len(crops), 15))


@pytest.mark.parametrize("factor", [0.709, 0.9])
def test_no_value_is_looked_at_and_no_shape_hangs_on_data(factor: float) -> None:
    """torch's meta device has shapes and no values: what asks for one raises there.

    So would what mixes tensors of two devices.
    """
    nowhere = torch.device("meta")
    grid = cascade.Grid(known(240, 320, min_face=40, factor=factor), nowhere)
    frames = torch.empty((3, 240, 320, 3), dtype=torch.uint8, device=nowhere)
    lengths = Planner(3).lengths
    bounds = cascade.bounds_of((0.6, 0.7, 0.7))
    blank: Any = Blank()
    found = cascade.search(frames, grid, blank, bounds, lengths)
    assert found.faces.shape == (lengths.outputs, cascade.FOUND_COLUMNS)
    assert found.needed.shape == (len(lengths),)
    with pytest.raises(RuntimeError):
        bool(found.faces.any())
