"""The MobileNetV2 trunk of the small networks (Sandler et al., CVPR 2018), without classifier.

Module names are torchvision's, so its ImageNet weights load unchanged.
"""

from torch import Tensor, nn
from torchvision.models import mobilenet_v2

STRIDE_4, STRIDE_8, STRIDE_16 = 3, 6, 13
"""The blocks that end each resolution."""
CHANNELS = (24, 32, 96)
"""Their output channels."""
DEEPEST = 17
"""The last block; 320 channels, at stride 16 where it is dilated."""
DEEPEST_CHANNELS = 320
STRIDE_32 = 14
"""The first block that torchvision has at stride 32."""


class MobileNetV2(nn.Module):
    """The trunk up to stride 16, or further blocks dilated to stay there.

    ``deep``: include the blocks that torchvision has at stride 32, dilated by 2.
    """

    def __init__(self, in_channels: int = 3, *, deep: bool = False):
        super().__init__()
        features = mobilenet_v2().features
        self.features = features[: (DEEPEST if deep else STRIDE_16) + 1]
        first = self.features[0][0]
        if in_channels != first.in_channels:
            self.features[0][0] = nn.Conv2d(in_channels, first.out_channels, 3, 2, 1, bias=False)
            nn.init.kaiming_normal_(self.features[0][0].weight, mode="fan_out")
        for block in self.features[STRIDE_32:]:
            for conv in (module for module in block.modules() if isinstance(module, nn.Conv2d)):
                if conv.kernel_size == (3, 3):
                    # What comes before the reduction still lies side by side, what comes after it two cells apart.
                    apart = 1 if conv.stride == (2, 2) else 2
                    conv.stride, conv.dilation, conv.padding = (1, 1), (apart, apart), (apart, apart)

    def forward(self, x: Tensor) -> list[Tensor]:
        """[B,in_channels,H,W] -> the features at strides 4, 8, 16, and the deepest at stride 16 if ``deep``."""
        outputs = []
        for number, block in enumerate(self.features):
            x = block(x)
            if number in (STRIDE_4, STRIDE_8, STRIDE_16, DEEPEST):
                outputs.append(x)
        return outputs
