"""What a model of the family is made of, and how many parameters it has."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Size:
    """A model of the family, with the batch that it is trained on.

    head_width: of queries, keys and values; all heads share one key and one value (multi-query attention).
    length: of the sequences, counted in predicted tokens.
    batch: in sequences; the paper's last and largest, where it grows while training.
    dtype: of activations. Parameters, what the optimizer keeps, and sums over many terms are float32 always.
    """

    layers: int
    heads: int
    width: int
    batch: int
    head_width: int = 256
    vocabulary: int = 256_000
    length: int = 2048
    dtype: str = "bfloat16"

    @property
    def hidden(self) -> int:
        """The width between the matrices of a feed-forward layer."""
        return 4 * self.width


TOY = Size(layers=4, heads=4, width=128, batch=8, head_width=32, vocabulary=256, length=64, dtype="float32")
PALM_8B = Size(layers=32, heads=16, width=4096, batch=512)
PALM_62B = Size(layers=64, heads=32, width=8192, batch=1024)
PALM_540B = Size(layers=118, heads=48, width=18432, batch=2048)


def layer_products(size: Size) -> dict[str, int]:
    """How many weights each matrix of a layer has: as many multiplications it costs a token."""
    per_head = size.width * size.head_width
    across = size.width * size.hidden
    return {
        "query": size.heads * per_head,
        "key": per_head,
        "value": per_head,
        "out": size.heads * per_head,
        "gate": across,
        "up": across,
        "down": across,
    }


def parameter_count(size: Size) -> int:
    """Of the whole model: the embedding counts once, since it is the output matrix too."""
    norms = (size.layers + 1) * size.width
    return size.vocabulary * size.width + size.layers * sum(layer_products(size).values()) + norms


def padded(size: Size, multiple: int) -> Size:
    """With a vocabulary that a multiple of devices can share; what is added are tokens that never occur.

    The matrix units of a TPU want whole tiles of eight rows, so a model split 12 ways needs a multiple of 96:
    256,032 tokens instead of 256,000.
    """
    return replace(size, vocabulary=-(-size.vocabulary // multiple) * multiple)
