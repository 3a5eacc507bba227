"""What the inference notebook shows of its answer, outside the rerun."""

import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import display

from src.kaggle.answer import Answer, in_rerun
from src.kaggle.pictures import draw_study
from src.kaggle.tables import by_study, cost
from src.reading.findings import fallbacks, sources


def show_answer(answer: Answer, pictures: int = 3) -> None:
    """Show tables and the first studies; in the rerun nothing, as nobody sees it."""
    if in_rerun():
        return
    _show("What it took", cost(answer))
    if answer.findings is None:
        print("\nThere are no findings: the submission is the prior throughout.")
        return
    _show("Where the answers came from", pd.DataFrame(sources(answer.findings)))
    _show(
        "Why answers fell back to the prior", pd.DataFrame(fallbacks(answer.findings))
    )
    _show("The studies", by_study(answer.findings))
    for study in answer.studies[:pictures]:
        figure = draw_study(answer.data, study, answer.findings)
        display(figure)
        plt.close(figure)


def _show(title: str, table: pd.DataFrame) -> None:
    if table.empty:
        print(f"\n{title}: nothing to list.")
        return
    styled = (
        table.style.hide(axis="index")
        .set_caption(title)
        .format(precision=2, na_rep="-")
    )
    caption = {"selector": "caption", "props": "font-weight: bold; text-align: left"}
    display(styled.set_table_styles([caption]))
