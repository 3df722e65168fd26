"""Untied local filters: every place of an image has filters of its own, where a convolution has one set for all.

Maps are (N, C, H, W). Filters are (rows, columns, field, field, C, M): M filters for each place, which see the square
of `field` pixels whose upper left corner is the place. `respond` and `spread` are adjoint to each other:

    <respond(x, w), z> = <x, spread(z, w)>  for every x and z

so each is the other's gradient, and memory stays that of one row of places.
"""

import torch
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


def _respond(maps: Tensor, filters: Tensor) -> Tensor:
    """(N, H, W, C) to (N, rows, columns, M)."""
    rows = [torch.bmm(_seen(maps, row, filters), _matrices(filters[row])) for row in range(len(filters))]
    return torch.stack(rows).permute(2, 0, 1, 3)


def _spread(responses: Tensor, filters: Tensor) -> Tensor:
    """(N, rows, columns, M) to (N, H, W, C)."""
    num_channels, height, width = map_shape(filters)
    columns, field = filters.shape[1:3]
    maps = responses.new_zeros(len(responses), height, width, num_channels)
    for row in range(len(filters)):
        parts = torch.bmm(responses[:, row].transpose(0, 1), _matrices(filters[row]).transpose(1, 2))
        parts = parts.view(columns, -1, field, field, num_channels).permute(3, 1, 2, 0, 4)
        for shift, part in enumerate(parts):
            maps[:, row : row + field, shift : shift + columns] += part
    return maps


def _correlate(maps: Tensor, responses: Tensor, filters: Tensor) -> Tensor:
    """The gradient with respect to the filters: what each saw times its response, summed over N."""
    found = torch.empty_like(filters)
    for row in range(len(filters)):
        products = torch.bmm(_seen(maps, row, filters).transpose(1, 2), responses[:, row].transpose(0, 1))
        found[row] = products.view_as(found[row])
    return found


def _seen(maps: Tensor, row: int, filters: Tensor) -> Tensor:
    """What the filters of one row of places see, (columns, N, field * field * C)."""
    columns, field = filters.shape[1:3]
    squares = maps[:, row : row + field].unfold(2, field, 1)  # (N, field, columns, C, field)
    return squares.permute(2, 0, 1, 4, 3).reshape(columns, len(maps), -1)


def _matrices(filters: Tensor) -> Tensor:
    """The filters of one row of places as matrices, (columns, field * field * C, M)."""
    return filters.flatten(1, 3)
