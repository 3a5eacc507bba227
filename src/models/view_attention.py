"""One network for all views of a site: attention over what each of them shows."""

import torch
from torch import nn

from src.models.backbones import build, build_grey
from src.models.gated_attention import FEATURES, attention_pool, gated_scores

# Contrast below which a view is blank; a grey level of 255 is .024 once normalized.
BLANK = 1e-3


class ViewAttention(nn.Module):
    """Gated-attention pooling over the features of all views of a site.

    One backbone encodes the images of every view: its slices one by one, or as the
    channels of one image; learned marks tell the view and the image's place in its
    crop. A blank view counts as missing: its pixels change nothing. In training each
    view is also graded alone, from the same attention over its own images, so that the
    encoder learns from every view.
    """

    def __init__(
        self,
        backbone: str,
        classes: int,
        views: int,
        slices: int,
        weights: str,
        channels: int = 1,
    ) -> None:
        """Build it.

        slices: of a view; weights: of the backbone, as `backbones.build` takes them;
        channels: slices that make one image, 1 or backbones.CHANNELS.
        """
        super().__init__()
        self.channels = channels
        make = build_grey if channels == 1 else build
        self.encoder = make(backbone, FEATURES, weights)
        self.view_marks = nn.Parameter(torch.zeros(views, 1, FEATURES))
        self.slice_marks = nn.Parameter(torch.zeros(slices // channels, FEATURES))
        self.values = nn.Linear(FEATURES, FEATURES)
        self.gates = nn.Linear(FEATURES, FEATURES)
        self.scores = nn.Linear(FEATURES, 1)
        self.head = nn.Linear(FEATURES, classes)
        self.view_heads = nn.ModuleList(
            nn.Linear(FEATURES, classes) for _ in range(views)
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Grade sites [n, views, slices, px, px]: [n, classes].

        In training [n, 1 + views, classes]: the site by all its views, then by each
        alone, which is zeros for a missing one.
        """
        present = present_views(images)
        seen, scores = self._scored(images, present)
        shown = _of_present(scores, present)
        site = self.head(attention_pool(seen.flatten(1, 2), shown.flatten(1)))
        if not self.training:
            return site
        pooled = attention_pool(seen, scores).unbind(dim=1)
        alone = [head(view) for head, view in zip(self.view_heads, pooled, strict=True)]
        by_view = torch.stack(alone, dim=1).masked_fill(~present[:, :, None], 0.0)
        return torch.cat([site[:, None], by_view], dim=1)

    def attention(self, images: torch.Tensor) -> torch.Tensor:
        """Return the shares [n, views, places] of a site's images in its pooling.

        images: [n, views, slices, px, px]; the shares of a site sum to 1, those of a
        missing view are 0.
        """
        present = present_views(images)
        _, scores = self._scored(images, present)
        shown = _of_present(scores, present)
        return torch.softmax(shown.flatten(1), dim=1).view_as(scores)

    def _scored(
        self, images: torch.Tensor, present: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return features [n, views, places, FEATURES], scores [n, views, places]."""
        seen = self._encoded(images, present) + self.view_marks + self.slice_marks
        return seen, gated_scores(seen, self.values, self.gates, self.scores)

    def _encoded(self, images: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
        """Encode the images of the present views: [n, views, places, FEATURES].

        Batch norm sees no blank image. A CPU saves the time of missing views; a GPU,
        whose shapes had better stay fixed, encodes a present view once more.
        """
        if images.device.type != "cpu":
            return self._features(stand_in(images, present))
        found = self._features(images[present])
        features = found.new_zeros(*present.shape, *found.shape[1:])
        features[present] = found
        return features

    def _features(self, slices: torch.Tensor) -> torch.Tensor:
        """Encode slices [..., slices, px, px] as images: [..., places, FEATURES]."""
        images = slices.unflatten(-3, (-1, self.channels))
        leading = images.shape[:-3]
        return self.encoder(images.flatten(0, -4)).unflatten(0, leading)


def _of_present(scores: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
    """Let the scores [n, views, places] of missing views have no part in a softmax."""
    return scores.masked_fill(~present[:, :, None], -torch.inf)


def present_views(images: torch.Tensor) -> torch.Tensor:
    """Mark [n, views] the views [n, views, slices, px, px] that are not blank.

    A site without any counts as one with all, so that it has a grade.
    """
    low, high = images.flatten(2).aminmax(dim=2)
    present = high - low > BLANK
    return present | ~present.any(dim=1, keepdim=True)


def stand_in(images: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
    """Put a site's first present view in the place of each missing one."""
    sites, views = (torch.arange(size, device=images.device) for size in present.shape)
    first = present.to(torch.uint8).argmax(dim=1, keepdim=True)
    return images[sites[:, None], torch.where(present, views, first)]
