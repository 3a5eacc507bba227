"""Heatmaps: the probability of a target over all slices and pixels of a series."""

import numpy as np
import torch

TARGET_MM = 1.5  # standard deviation of the target across slices
TARGET_CELLS = 1.0  # standard deviation of the target, in the heatmap's cells


def select_targets(
    outputs: torch.Tensor, targets: np.ndarray | torch.Tensor
) -> torch.Tensor:
    """Take some targets' scores out of [slices, targets, h, w]: [m, slices, h, w]."""
    indices = torch.as_tensor(targets, device=outputs.device)
    return outputs.float().index_select(1, indices).transpose(0, 1)


def log_probabilities(scores: torch.Tensor) -> torch.Tensor:
    """Turn scores [m, slices, h, w] into log probabilities; each target's sum to 1."""
    return torch.log_softmax(scores.flatten(1), dim=1).view_as(scores)


def cross_entropies(
    scores: torch.Tensor, distance_mm: torch.Tensor, points: torch.Tensor
) -> torch.Tensor:
    """Return each target's [m] cross-entropy between predicted and Gaussian heatmap.

    scores: [m, slices, h, w]; away_mm: [m, slices], how far each slice is from the
    site; points: [m, 2], x and y in shares of the image. The site is a Gaussian of
    TARGET_CELLS around its point, shared by the slices as a Gaussian of TARGET_MM: a
    competition's next slice, some 4.5 mm away, has next to none of it, one of a thin
    series nearly as much.
    """
    logs = log_probabilities(scores)
    places = _gaussians(points, logs[:, 0])
    shares = torch.softmax(-(distance_mm**2) / (2 * TARGET_MM**2), dim=1)
    by_slice = (places[:, None] * logs).flatten(2).sum(dim=2)
    return -(shares.to(logs.dtype) * by_slice).sum(dim=1)


def peaks(scores: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the highest score's slice [m] and point [m, 2] in shares of the image."""
    _, _, height, width = scores.shape
    best = scores.flatten(1).argmax(dim=1)
    slices, cell = best // (height * width), best % (height * width)
    places = torch.stack([cell % width / width, cell // width / height], dim=1)
    half = places.new_tensor([0.5 / width, 0.5 / height])
    return slices, places + half


def _gaussians(points: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Draw a Gaussian that sums to 1 around each point: as `like` [m, h, w]."""
    height, width = like.shape[1:]
    across = torch.arange(width, device=like.device) + 0.5
    along = torch.arange(height, device=like.device) + 0.5
    off_x = across - points[:, :1].to(like.dtype) * width
    off_y = along - points[:, 1:].to(like.dtype) * height
    squares = off_y[:, :, None] ** 2 + off_x[:, None, :] ** 2
    flat = torch.softmax(-squares.flatten(1) / (2 * TARGET_CELLS**2), dim=1)
    return flat.view_as(like)
