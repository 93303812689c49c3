"""A network that folding batch norms would change."""

from torch import Tensor, nn


class Around(nn.Module):
    """Adds the convolution's own output to the norm's, which folding cannot know."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        nn.init.constant_(self.norm.weight, 3.0)

    def forward(self, images: Tensor) -> Tensor:
        values = self.convolution(images)
        features: Tensor = (values + self.norm(values)).mean(dim=(2, 3))
        return features
