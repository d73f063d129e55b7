"""What tests of replicas share: which bits each island holds."""

import hashlib
import itertools

import jax


def parts_of(tree):
    """For each part of each value the bits of its copies, by their islands."""
    for part in itertools.chain.from_iterable(array.parts for array in jax.tree.leaves(tree)):
        yield {island: part.read(island).tobytes() for island in part.islands}


def hashes_of(tree):
    """For each island a hash of all that it holds a copy of."""
    found = {}
    for copies in parts_of(tree):
        for island, content in copies.items():
            found.setdefault(island, hashlib.sha256()).update(content)
    return {island: one.hexdigest() for island, one in found.items()}


def check_same_bits(tree, replicas):
    """What has copies has one in each replica, with the same bits; a part of one microbatch is in one of them."""
    for copies in parts_of(tree):
        assert len(copies) in (1, replicas)
        assert len(set(copies.values())) == 1
