"""What a network costs: attention counts on a CPU as well."""

import torch
import torch.nn.functional as F

from sonoseg.reproduction.cost import _operations


class Attention(torch.nn.Module):
    def forward(self, image):
        return F.scaled_dot_product_attention(image, image, image)


def test_the_operations_of_attention_are_counted():
    """Two heads, nine places of four numbers: each place meets each other twice."""
    assert _operations(Attention(), torch.rand(1, 2, 9, 4)) == 2 * (2 * 9 * 9 * 4) * 2
