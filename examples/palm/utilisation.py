"""What share of its peak the hardware spends on a model: the paper's model FLOPs utilisation, and the hardware's.

A floating-point operation (FLOP) is a multiplication or an addition; only matrix products count. The backward pass of
a product is two of its size, so each weight costs a token 6: 2 forward, 4 backward.
"""

from atoll.examples.palm.sizes import Size, layer_products, parameter_count

_NOT_AGAIN = ("out", "down")  # they end a layer: no gradient needs what they give, only what they are given


def utilisation(flops_per_token: float, tokens_per_second: float, chips: int, peak: float) -> float:
    """The share of the peak of all chips, each with `peak` FLOP a second, that goes into these."""
    return flops_per_token * tokens_per_second / (chips * peak)


def model_flops(size: Size, attention: bool = True) -> int:
    """What a token costs in any implementation, forward and backward: 6N + 12·L·H·Q·T.

    attention: whether the products of queries with keys, and of scores with values, count as well. As in the paper
        they count for all pairs of positions, though the causal mask throws half of them away.
    """
    return 6 * parameter_count(size) + attention * 3 * size.layers * _pairs(size)


def hardware_flops(size: Size, shards: int = 1) -> int:
    """What a token costs when layers are computed again in the backward pass.

    shards: over how many chips each layer is split. All heads share their key and value, so each of these chips
        computes both: what is done more than once costs the hardware, and does nothing for the model.
    """
    products = layer_products(size)
    again = sum(weights for name, weights in products.items() if name not in _NOT_AGAIN)
    copies = (shards - 1) * (products["key"] + products["value"])
    return model_flops(size) + size.layers * (2 * again + _pairs(size) + 8 * copies)


def _pairs(size: Size) -> int:
    """The forward products of one layer that have no weights: scores, and values by score."""
    return 4 * size.heads * size.head_width * size.length
