"""Which epoch's weights are kept, by validation losses given by hand."""

import pytest

from src.training.selection import choose_selection, is_best, kept_loss


def kept(select: str, losses: list[float]) -> list[int]:
    """List the epochs, from 1, after which the weights are kept."""
    numbers = range(1, len(losses) + 1)
    return [number for number in numbers if is_best(select, losses[:number])]


# Epoch 2 is luck; epochs 5 to 7 hold what they show.
LUCKY = [4.0, 0.5, 6.0, 3.0, 1.0, 1.0, 0.75, 1.25, 1.5]


@pytest.mark.parametrize(
    ("select", "epochs"),
    [
        ("best", [1, 2]),
        # Means of three: 3.5, 3.17, 3.33, 1.67, .92, 1, 1.17.
        ("smoothed", [1, 2, 3, 4, 6, 7]),
        ("last", [1, 2, 3, 4, 5, 6, 7, 8, 9]),
    ],
)
def test_a_lucky_epoch_is_kept_by_its_own_loss_alone(
    select: str, epochs: list[int]
) -> None:
    assert kept(select, LUCKY) == epochs


def test_before_three_epochs_the_last_is_kept() -> None:
    assert kept("smoothed", [1.0, 5.0]) == [1, 2]
    assert kept("smoothed", [1.0, 5.0, 9.0, 1.0]) == [1, 2, 3]  # both means are 5
    assert kept("smoothed", [1.0, 5.0, 9.0, 0.9]) == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("select", "studies", "rule"),
    [
        ("auto", 3, "last"),
        ("auto", 19, "last"),
        ("auto", 20, "smoothed"),
        ("best", 3, "best"),
        ("smoothed", 3, "smoothed"),
        ("last", 99, "last"),
    ],
)
def test_a_small_validation_chooses_nothing_unless_asked(
    select: str, studies: int, rule: str
) -> None:
    assert choose_selection(select, studies) == rule


def test_as_good_as_the_best_is_not_better() -> None:
    assert kept("best", [2.0, 1.0, 1.0]) == [1, 2]


@pytest.mark.parametrize(
    ("select", "loss"),
    # The seventh epoch is kept by the smoothed rule: 1, 1, .75.
    [("best", 0.5), ("smoothed", 2.75 / 3), ("last", 3.5 / 3)],
)
def test_kept_weights_are_judged_by_the_epochs_that_chose_them(
    select: str, loss: float
) -> None:
    assert kept_loss(select, LUCKY) == pytest.approx(loss)


@pytest.mark.parametrize("select", ["best", "smoothed", "last"])
def test_a_single_epoch_is_judged_by_itself(select: str) -> None:
    assert kept_loss(select, [3.0]) == 3.0
