"""Region features -> d dimensions: the projection that GPO, HREM, AAHR, VSD and VSSR share."""

from torch import Tensor, nn

from itm_harness.methods.parts.batch_norm import BatchNorm1d


class RegionMLP(nn.Module):
    """Linear → BatchNorm over all B·N rows, padding included → ReLU → Linear."""

    def __init__(self, region_dim: int, embed_size: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(region_dim, embed_size // 2)
        self.norm = BatchNorm1d(embed_size // 2)
        self.output = nn.Linear(embed_size // 2, embed_size)

    def forward(self, regions: Tensor) -> Tensor:
        """(B, N, region_dim) -> (B, N, d). A padded row is a zero vector and enters the batch statistics."""
        hidden = self.hidden(regions).flatten(0, 1)  # (B·N, d/2)
        return self.output(self.norm(hidden).relu().unflatten(0, regions.shape[:2]))


class RegionProjection(nn.Module):
    """proj(x) = fc(x) + mlp(x).

    xavier_mlp: HREM, AAHR and VSD-HREM initialise the MLP's layers xavier-uniform as well; GPO and its heirs do not.
    """

    def __init__(self, region_dim: int, embed_size: int, xavier_mlp: bool = False) -> None:
        super().__init__()
        self.fc = nn.Linear(region_dim, embed_size)
        self.mlp = RegionMLP(region_dim, embed_size)
        for layer in [self.fc, self.mlp.hidden, self.mlp.output] if xavier_mlp else [self.fc]:
            xavier(layer)

    def forward(self, regions: Tensor) -> Tensor:
        """(B, N, region_dim) -> (B, N, d)."""
        return self.fc(regions) + self.mlp(regions)


def xavier(layer: nn.Linear) -> nn.Linear:
    """The layer with weights drawn from uniform(±sqrt(6 / (in + out))) and no bias at first."""
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
