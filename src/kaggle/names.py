"""Names on Kaggle: the competition, the dataset, the two notebooks.

Kaggle makes the slug of a new notebook from its title, so here both have one prefix.
"""

import re
from dataclasses import dataclass

COMPETITION = "rsna-2024-lumbar-spine-degenerative-classification"
KERNELS = ("inference", "train")
OWNER = "OWNER"  # stands in kernels/*/kernel-metadata.json until the bundle is staged
SLUG_PREFIX = "rsna-lumbar"


@dataclass(frozen=True)
class Names:
    """An owner's references: `owner/slug` of the dataset and of each notebook."""

    owner: str
    slug_prefix: str = SLUG_PREFIX

    def ref(self, part: str) -> str:
        """Return the reference of the `kit` dataset or of a notebook in KERNELS."""
        return f"{self.owner}/{self.slug_prefix}-{part}"

    def title(self, part: str) -> str:
        """Return a title that Kaggle turns back into the slug."""
        return f"{self.slug_prefix}-{part}".replace("-", " ").title()


def slugify(title: str) -> str:
    """Turn a title into the slug that Kaggle gives it."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
