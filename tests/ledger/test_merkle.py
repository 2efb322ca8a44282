"""Known answers of the certificate-transparency reference tree, and the definitions of RFC 6962 themselves."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradatim.ledger.merkle import (
    Frontier,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    root_of,
    verify_consistency,
    verify_inclusion,
)

INPUTS = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
LEAVES = [leaf_hash(bytes.fromhex(data)) for data in INPUTS]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
NODE_01 = "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"
NODE_23 = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e"
NODE_45 = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a"
NODE_67 = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"
NODE_03 = "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"
NODE_47 = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"
LEAF_1 = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7"
LEAF_4 = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"

trees = st.lists(st.binary(max_size=8).map(leaf_hash), min_size=1, max_size=70)


def naive_root(leaves: Sequence[bytes]) -> bytes:
    """MTH of RFC 6962, 2.1, word for word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return hashlib.sha256(b"\x01" + naive_root(leaves[:split]) + naive_root(leaves[split:])).digest()


@pytest.mark.parametrize("size", range(9))
def test_reference_roots(size: int) -> None:
    assert root_of(LEAVES[:size]).hex() == ROOTS[size]


@pytest.mark.parametrize(
    ("index", "size", "proof"),
    [
        (0, 1, []),
        (0, 8, [LEAF_1, NODE_23, NODE_47]),
        (5, 8, [LEAF_4, NODE_67, NODE_03]),
        (2, 3, [NODE_01]),
        (1, 5, [LEAVES[0].hex(), NODE_23, LEAF_4]),
    ],
)
def test_reference_inclusion_proofs(index: int, size: int, proof: list[str]) -> None:
    assert [node.hex() for node in inclusion_proof(LEAVES[:size], index)] == proof
    assert verify_inclusion(LEAVES[index], index, size, [bytes.fromhex(n) for n in proof], bytes.fromhex(ROOTS[size]))


@pytest.mark.parametrize(
    ("old", "size", "proof"),
    [
        (1, 1, []),
        (1, 8, [LEAF_1, NODE_23, NODE_47]),
        (6, 8, [NODE_45, NODE_67, NODE_03]),
        (2, 5, [NODE_23, LEAF_4]),
        (4, 8, [NODE_47]),
    ],
)
def test_reference_consistency_proofs(old: int, size: int, proof: list[str]) -> None:
    nodes = [bytes.fromhex(node) for node in proof]
    assert consistency_proof(LEAVES[:size], old) == nodes
    assert verify_consistency(old, size, bytes.fromhex(ROOTS[old]), bytes.fromhex(ROOTS[size]), nodes)


@given(trees)
def test_appending_gives_the_defined_root_at_every_size(leaves: list[bytes]) -> None:
    frontier = Frontier()
    for size, leaf in enumerate(leaves, start=1):
        frontier.append(leaf)
        assert (frontier.size, frontier.root()) == (size, naive_root(leaves[:size]))


@given(trees, st.data())
def test_inclusion_is_proved_for_the_leaf_and_for_no_other(leaves: list[bytes], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(leaves) - 1))
    proof, root, size = inclusion_proof(leaves, index), naive_root(leaves), len(leaves)
    assert verify_inclusion(leaves[index], index, size, proof, root)
    assert not verify_inclusion(leaf_hash(b"another leaf, too long to be drawn"), index, size, proof, root)
    assert not verify_inclusion(leaves[index], index, size, [*proof, root], root)
    assert not verify_inclusion(leaves[index], size, size, proof, root)
    if proof:
        assert not verify_inclusion(leaves[index], index, size, proof[:-1], root)


@given(trees, st.data())
def test_consistency_is_proved_for_a_prefix_and_for_nothing_else(leaves: list[bytes], data: st.DataObject) -> None:
    old, size = data.draw(st.integers(1, len(leaves))), len(leaves)
    old_root, root, proof = naive_root(leaves[:old]), naive_root(leaves), consistency_proof(leaves, old)
    assert verify_consistency(old, size, old_root, root, proof)
    rewritten = naive_root([*leaves[: old - 1], leaf_hash(b"rewritten, too long to be drawn")])
    assert not verify_consistency(old, size, rewritten, root, proof)
    assert not verify_consistency(old, size, old_root, rewritten, proof)
    assert not verify_consistency(old, size, old_root, root, [*proof, root])
    if proof:
        assert not verify_consistency(old, size, old_root, root, proof[:-1])


@given(trees)
def test_a_copy_of_the_frontier_is_independent(leaves: list[bytes]) -> None:
    frontier = Frontier(leaves)
    other = frontier.copy()
    other.append(leaf_hash(b"more"))
    assert frontier.root() == naive_root(leaves)
    assert other.root() == naive_root([*leaves, leaf_hash(b"more")])


def test_proofs_of_what_is_not_there_are_refused() -> None:
    for index in (-1, 8):
        with pytest.raises(ValueError, match="no leaf"):
            inclusion_proof(LEAVES, index)
    for old in (0, 9):
        with pytest.raises(ValueError, match="no proof"):
            consistency_proof(LEAVES, old)
    assert not verify_consistency(0, 8, LEAVES[0], LEAVES[0], [])
    assert not verify_consistency(2, 3, LEAVES[0], LEAVES[0], [])
