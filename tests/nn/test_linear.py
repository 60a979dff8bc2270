"""A packed product against its parts."""

import torch

from zhixing.nn.linear import PackedLinear


def test_a_packed_product_is_its_parts_side_by_side():
    packed = PackedLinear(12, [4, 2, 2])
    assert packed.sections == (4, 2, 2) and packed.weight.shape == (8, 12)
    x = torch.randn(3, 5, 12)
    parts = zip(packed.weight.split(packed.sections), packed.bias.split(packed.sections), strict=True)
    torch.testing.assert_close(packed(x), torch.cat([x @ w.T + b for w, b in parts], dim=-1))
