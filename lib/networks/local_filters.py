"""Untied local filters: every place of an image has filters of its own, where a convolution has one set for all.

Maps are (N, C, H, W). Filters are (rows, columns, field, field, C, M): M filters for each place, which see the square
of `field` pixels whose upper left corner is the place. `respond` and `spread` are adjoint to each other:

    <respond(x, w), z> = <x, spread(z, w)>  for every x and z

so each is the other's gradient, and memory stays that of one row of places.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def respond(maps: Tensor, filters: Tensor) -> Tensor:
    """The response of every filter to what it sees, (N, M, rows, columns): W^T x for one big sparse W.

    maps : Tensor (N, C, rows + field - 1, columns + field - 1). Raises ValueError for maps that do not fit.
    """
    if maps.shape[1:] != map_shape(filters):
        raise ValueError(f"these filters see maps of (C, H, W) {map_shape(filters)}, not {tuple(maps.shape[1:])}")
    return _Respond.apply(maps.movedim(1, -1).contiguous(), filters).movedim(-1, 1)


def spread(responses: Tensor, filters: Tensor) -> Tensor:
    """The sum of all filters, each at its place and times its response, (N, C, H, W): W z.

    responses : Tensor (N, M, rows, columns). Raises ValueError for responses that are not the filters'.
    """
    rows, columns, *_, num_filters = filters.shape
    if responses.shape[1:] != (num_filters, rows, columns):
        raise ValueError(
            f"these filters have responses of (M, rows, columns) {num_filters, rows, columns}, not "
            f"{tuple(responses.shape[1:])}"
        )
    return _Spread.apply(responses.movedim(1, -1), filters).movedim(-1, 1)


def map_shape(filters: Tensor) -> tuple[int, int, int]:
    """(C, H, W) of the maps that filters see."""
    rows, columns, field, _, num_channels, _ = filters.shape
    return num_channels, rows + field - 1, columns + field - 1


# Here channels come last, so that what a filter sees is copied in runs of field * C numbers.


class _Respond(torch.autograd.Function):
    @staticmethod
    def forward(ctx, maps: Tensor, filters: Tensor) -> Tensor:
        ctx.save_for_backward(maps, filters)
        return _respond(maps, filters)

    @staticmethod
    def backward(ctx, gradient: Tensor):
        maps, filters = ctx.saved_tensors
        wanted_maps, wanted_filters = ctx.needs_input_grad
        return (
            _spread(gradient, filters) if wanted_maps else None,
            _correlate(maps, gradient, filters) if wanted_filters else None,
        )


class _Spread(torch.autograd.Function):
    @staticmethod
    def forward(ctx, responses: Tensor, filters: Tensor) -> Tensor:
        ctx.save_for_backward(responses, filters)
        return _spread(responses, filters)

    @staticmethod
    def backward(ctx, gradient: Tensor):
        responses, filters = ctx.saved_tensors
        wanted_responses, wanted_filters = ctx.needs_input_grad
        return (
            _respond(gradient, filters) if wanted_responses else None,
            _correlate(gradient, responses, filters) if wanted_filters else None,
        )


# Places go by tiles: `field` neighbours in a row, which together see a window of twice that width. Their filters are
# one banded matrix. Half of it is 0, and still a product with it is much faster than a thin one for each place.


def _respond(maps: Tensor, filters: Tensor) -> Tensor:
    """(N, H, W, C) to (N, rows, columns, M)."""
    maps, (num_rows, columns, field, *_) = _padded(maps, filters), filters.shape
    rows = [torch.bmm(_seen(maps, row, field), _banded(filters[row])) for row in range(num_rows)]
    tiles = torch.stack(rows).unflatten(-1, (field, -1))  # (rows, tiles, N, field, M)
    return tiles.permute(2, 0, 1, 3, 4).flatten(2, 3)[:, :, :columns]


def _spread(responses: Tensor, filters: Tensor) -> Tensor:
    """(N, rows, columns, M) to (N, H, W, C)."""
    (num_channels, height, width), field = map_shape(filters), filters.shape[2]
    responses = _tiled(responses, field)
    maps = responses.new_zeros(responses.shape[2], height, (responses.shape[1] + 1) * field, num_channels)
    for row, tiles in enumerate(responses):
        windows = torch.bmm(tiles, _banded(filters[row]).transpose(1, 2))
        halves = windows.unflatten(-1, (field, 2, field, num_channels)).permute(3, 1, 2, 0, 4, 5).flatten(3, 4)
        maps[:, row : row + field, :-field] += halves[0]
        maps[:, row : row + field, field:] += halves[1]
    return maps[:, :, :width]


def _correlate(maps: Tensor, responses: Tensor, filters: Tensor) -> Tensor:
    """The gradient with respect to the filters: what each saw times its response, summed over N."""
    found, (_, columns, field, _, num_channels, _) = torch.empty_like(filters), filters.shape
    maps = _padded(maps, filters)
    for row, tiles in enumerate(_tiled(responses, field)):
        products = torch.bmm(_seen(maps, row, field).transpose(1, 2), tiles)
        band = products.unflatten(-1, (field, -1)).unflatten(1, (field, 2 * field, num_channels))
        places = [band[:, :, place : place + field, :, place] for place in range(field)]
        found[row] = torch.stack(places, dim=1).flatten(0, 1)[:columns]
    return found


def _num_tiles(columns: int, field: int) -> int:
    return -(-columns // field)


def _padded(maps: Tensor, filters: Tensor) -> Tensor:
    """Maps (N, H, W, C) with zeros on the right, so that every tile has a whole window."""
    columns, field = filters.shape[1:3]
    return F.pad(maps, (0, 0, 0, (_num_tiles(columns, field) + 1) * field - maps.shape[2]))


def _seen(maps: Tensor, row: int, field: int) -> Tensor:
    """The windows of one row of tiles, (tiles, N, field * 2 field * C), of padded maps."""
    windows = maps[:, row : row + field].unfold(2, 2 * field, field)  # (N, field, tiles, C, 2 field)
    return windows.permute(2, 0, 1, 4, 3).flatten(2)


def _tiled(responses: Tensor, field: int) -> Tensor:
    """Responses (N, rows, columns, M) by tiles, (rows, tiles, N, field * M)."""
    tiles = _num_tiles(responses.shape[2], field)
    padded = F.pad(responses, (0, 0, 0, tiles * field - responses.shape[2]))
    return padded.unflatten(2, (tiles, field)).permute(1, 2, 0, 3, 4).flatten(3)


def _banded(filters: Tensor) -> Tensor:
    """The filters of one row of places as a matrix for each tile, (tiles, field * 2 field * C, field * M)."""
    columns, field, _, num_channels, num_filters = filters.shape
    tiles = _num_tiles(columns, field)
    places = F.pad(filters, (0, 0) * 4 + (0, tiles * field - columns)).unflatten(0, (tiles, field))
    band = filters.new_zeros(tiles, field, 2 * field, num_channels, field, num_filters)
    for place in range(field):
        band[:, :, place : place + field, :, place] = places[:, place]
    return band.flatten(1, 3).flatten(2)
