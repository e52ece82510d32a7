"""The page that tells of a training."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import torch

from kfp_lifecycle.components.train_gpu.device import choose_device
from kfp_lifecycle.components.train_gpu.loop import Fitted
from kfp_lifecycle.components.train_gpu.report import MOST_EPOCHS, Told, render_report
from tests.components.train_gpu.learnable import SCHEMAS, SPEC, options, train, write_tables


class Text(HTMLParser):
    """What a person reads, without the style sheet."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self.inside = ""

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.inside = tag

    def handle_data(self, data: str) -> None:
        if self.inside != "style":
            self.words.append(data)


def page(tmp_path: Path, task: str, judged: bool = True, **given: Any) -> tuple[str, str, Fitted]:
    torch.set_num_threads(1)
    chosen = options(**given)
    fitted = train(write_tables(tmp_path, task), task, chosen, judged=judged).fitted
    return *rendered(fitted, task, chosen, judged), fitted


def rendered(fitted: Fitted, task: str, chosen: Any, judged: bool = True) -> tuple[str, str]:
    device = choose_device(chosen)
    lineage = {"Data": "s3://bucket/<x>.csv", "Nothing": ""}
    html = render_report(
        fitted, Told(SCHEMAS[task], SPEC, chosen, device, 1, 600, 200 if judged else 0, lineage)
    )
    text = Text()
    text.feed(html)
    return html, " ".join(" ".join(text.words).split())


@pytest.mark.parametrize(
    ("task", "label"),
    [
        ("binary", "Area under the ROC curve"),
        ("multiclass", "Area under the ROC curve, mean over classes"),
        ("regression", "Root mean squared error"),
    ],
)
def test_what_it_tells(tmp_path: Path, task: str, label: str) -> None:
    html, text, fitted = page(tmp_path, task)
    assert f"{label} on held-out rows" in text
    assert "Multilayer perceptron with" in text
    assert "fitted on 600 rows, judged on 200 held out" in text
    assert f"the weights of epoch {fitted.best}" in text
    assert "learning_rate 0.01" in text
    assert "network: hidden [16]" in text
    assert "device CPU (" in text
    assert "layers.0 Linear(" in text
    assert html.count("<svg") == 4
    for title in ("Loss by epoch", f"{label} by epoch", "Learning rate by epoch", "Rows a second by epoch"):
        assert f'aria-label="{title}"' in html
    assert "s3://bucket/<x>.csv" in text
    assert "<x>" not in html
    assert "Nothing" not in text


def test_it_asks_for_nothing_outside_itself(tmp_path: Path) -> None:
    html, _, _ = page(tmp_path, "binary")
    assert not re.search(r'(src|href)="(?!#)|@import|url\((?!#)', html)
    assert "nan" not in re.sub(r"<svg.*?</svg>", "", html, flags=re.DOTALL).lower()


def test_no_credentials_are_in_it(tmp_path: Path) -> None:
    _, _, fitted = page(tmp_path, "binary", epochs=1)
    html, _ = rendered(fitted, "binary", options(checkpoint_uri="s3://me:pa55@bucket/runs"))
    assert "pa55" not in html
    assert "s3://***@bucket/runs" in html


def test_without_held_out_rows(tmp_path: Path) -> None:
    html, text, _ = page(tmp_path, "binary", judged=False, validation_share=0.0)
    assert "Training loss cross entropy; no rows held out" in text
    assert "judged on" not in text
    assert "Validation loss" not in text
    assert html.count("<svg") == 3


def test_early_stopping_and_a_restart_are_told(tmp_path: Path) -> None:
    given = {"epochs": 50, "patience": 2, "learning_rate": 0.2, "schedule": "constant", "monitor": "roc_auc"}
    _, text, fitted = page(tmp_path, "binary", **given)
    assert fitted.stopped_early
    assert f"Training stopped after epoch {len(fitted.history)} of at most 50" in text
    assert "none of the last 2 epochs had a better roc_auc" in text
    again = replace(fitted, resumed="epoch 3, batch 120 of 300")
    assert (
        "Taken up again from a checkpoint at epoch 3, batch 120 of 300."
        in rendered(again, "binary", options(**given))[1]
    )


def test_of_many_epochs_the_last_and_the_best_are_shown(tmp_path: Path) -> None:
    _, _, fitted = page(tmp_path, "binary", epochs=3)
    records = [replace(fitted.history[0], epoch=epoch) for epoch in range(1, 201)]
    many = replace(fitted, history=records, best=7)
    html, text = rendered(many, "binary", options())
    table = html[html.index("<h2>Epochs</h2>") :]
    shown = [int(epoch) for epoch in re.findall(r'<tr[^>]*><td class="num">(\d+)</td>', table)]
    assert shown == [7, *range(200 - MOST_EPOCHS + 2, 201)]
    assert f"The last {MOST_EPOCHS} of 200, with the best." in text
