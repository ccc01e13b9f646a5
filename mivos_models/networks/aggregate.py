"""Soft aggregation of independent object probabilities to one distribution over background and objects.

Oh et al., Video Object Segmentation using Space-Time Memory Networks (ICCV 2019), equation 2.
"""

import torch
from torch import Tensor

_SMALLEST = 1e-7
_HARDNESS = 1000.0


def aggregate_logits(probabilities: Tensor, dim: int = 0) -> Tensor:
    """Logits whose softmax along ``dim`` is the aggregated distribution.

    ``probabilities`` has K objects along ``dim``; the result has K+1 entries, background first. The background's
    probability is Π(1 − p_i).
    """
    background = torch.prod(1 - probabilities, dim=dim, keepdim=True)
    p = torch.cat([background, probabilities], dim=dim).clamp(_SMALLEST, 1 - _SMALLEST)
    return torch.log(p / (1 - p))


def aggregate(probabilities: Tensor, keep_bg: bool = True, hard: bool = False, dim: int = 0) -> Tensor:
    """Aggregated probabilities [K+1, …] (background first), or [K, …] without ``keep_bg``.

    ``probabilities`` [K, …] (K along ``dim``) lie in 0..1 and need not sum to one. ``hard`` sharpens the result to
    nearly 0 or 1, except at ties.
    """
    logits = aggregate_logits(probabilities, dim)
    result = torch.softmax(logits * _HARDNESS if hard else logits, dim=dim)
    return result if keep_bg else result.narrow(dim, 1, probabilities.shape[dim])
