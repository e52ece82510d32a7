"""The fast bootstrap gives what the plain, slow one gives."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from kfp_lifecycle.components.evaluate import bootstrap as module
from kfp_lifecycle.components.evaluate.bootstrap import bootstrap, resamples
from kfp_lifecycle.components.evaluate.predictions import Scored
from kfp_lifecycle.components.evaluate.weighted import Ranking, weighted_metrics
from kfp_lifecycle.components.shared.scores import METRICS, scores
from tests.components.evaluate.tables import binary, multiclass, regression

MAKERS = [binary, multiclass, regression]


def plain_bootstrap(scored: Scored, samples: int, seed: int) -> dict[str, np.ndarray]:
    """Every resample's rows written out and scored by scikit-learn, one after another."""
    found: dict[str, list[float]] = {name: [] for name in METRICS[scored.task]}
    for counts in np.concatenate(list(resamples(scored.rows, samples, seed))):
        drawn = np.repeat(np.arange(scored.rows), counts.astype(int))
        values = scored.take(drawn).metrics()
        for name, of_metric in found.items():
            of_metric.append(values.get(name, np.nan))
    return {name: np.array(values) for name, values in found.items()}


@pytest.mark.parametrize("maker", MAKERS)
def test_intervals_are_those_of_a_plain_bootstrap_on_the_same_resamples(
    maker: Callable[..., Scored],
) -> None:
    scored = maker(rows=200)
    fast = bootstrap([scored], samples=60, confidence=0.9, seed=7).models[0]
    slow = plain_bootstrap(scored, samples=60, seed=7)
    assert set(fast) == set(METRICS[scored.task])
    for name, estimate in fast.items():
        low, high = np.quantile(slow[name], [0.05, 0.95])
        assert estimate.value == pytest.approx(scored.metrics()[name], abs=1e-12)
        assert estimate.low == pytest.approx(low, abs=1e-9), name
        assert estimate.high == pytest.approx(high, abs=1e-9), name


@pytest.mark.parametrize("maker", MAKERS)
def test_paired_difference_is_that_of_a_plain_bootstrap(maker: Callable[..., Scored]) -> None:
    challenger = maker(rows=150, seed=1)
    champion = Scored(**{**challenger.__dict__, **_shuffled_predictions(challenger)})
    fast = bootstrap([challenger, champion], samples=50, seed=3)
    mine, theirs = plain_bootstrap(challenger, 50, 3), plain_bootstrap(champion, 50, 3)
    for name, difference in fast.differences[0].items():
        low, high = np.quantile(mine[name] - theirs[name], [0.025, 0.975])
        assert difference.low == pytest.approx(low, abs=1e-9), name
        assert difference.high == pytest.approx(high, abs=1e-9), name
        assert difference.value == pytest.approx(fast.models[0][name].value - fast.models[1][name].value)


def _shuffled_predictions(scored: Scored) -> dict[str, np.ndarray]:
    """The predictions of a third of the rows exchanged among them: a worse model."""
    order = np.arange(scored.rows)
    order[::3] = np.roll(order[::3], 1)
    return {"predicted": scored.predicted[order], "probabilities": scored.probabilities[order]}


def test_a_model_compared_with_itself_differs_by_nothing() -> None:
    scored = binary()
    difference = bootstrap([scored, scored], samples=50).differences[0]
    assert all((d.value, d.low, d.high) == (0, 0, 0) for d in difference.values())


def test_pairing_makes_the_interval_of_the_difference_narrow() -> None:
    champion, challenger = binary(signal=1.5), binary(signal=1.5)
    nearly = challenger.probabilities.copy()
    nearly[::50] = nearly[::50][:, ::-1]
    challenger = Scored(**{**challenger.__dict__, "probabilities": nearly})
    compared = bootstrap([challenger, champion], samples=300)
    paired = compared.differences[0]["roc_auc"]
    alone = compared.models[0]["roc_auc"]
    assert paired.high - paired.low < 0.7 * (alone.high - alone.low)


@pytest.mark.parametrize("maker", MAKERS)
def test_weighted_metrics_with_equal_weights_are_the_scores(maker: Callable[..., Scored]) -> None:
    scored = maker()
    weighted = weighted_metrics(scored)(np.ones((1, scored.rows)))
    assert {name: pytest.approx(float(value[0]), abs=1e-12) for name, value in weighted.items()} == (
        scored.metrics()
    )


def test_the_same_seed_gives_the_same_interval_and_chunks_do_not_matter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scored = binary()
    first = bootstrap([scored], samples=100, seed=5).models[0]
    assert bootstrap([scored], samples=100, seed=5).models[0] == first
    assert bootstrap([scored], samples=100, seed=6).models[0] != first
    monkeypatch.setattr(module, "CELLS", 7 * scored.rows)
    assert bootstrap([scored], samples=100, seed=5).models[0]["roc_auc"].low == pytest.approx(
        first["roc_auc"].low, abs=1e-12
    )


def test_resamples_hold_as_many_rows_as_the_table() -> None:
    drawn = np.concatenate(list(resamples(rows=90, samples=37, seed=1)))
    assert drawn.shape == (37, 90)
    assert (drawn.sum(axis=1) == 90).all()


def test_above_the_cap_the_interval_is_scaled_to_the_whole_table(monkeypatch: pytest.MonkeyPatch) -> None:
    scored = binary(rows=8000)
    whole = bootstrap([scored], samples=400).models[0]["roc_auc"]
    monkeypatch.setattr(module, "MAX_ROWS", 2000)
    part = bootstrap([scored], samples=400).models[0]["roc_auc"]
    assert part.value == whole.value
    assert part.low < part.value < part.high
    assert part.high - part.low == pytest.approx(whole.high - whole.low, rel=0.2)


def test_a_metric_that_most_resamples_do_not_define_has_no_interval() -> None:
    truth = np.zeros(30, dtype=np.int64)
    truth[0] = 1
    scored = binary(rows=30)
    single = Scored(**{**scored.__dict__, "truth": truth})
    estimate = bootstrap([single], samples=200).models[0]["roc_auc"]
    assert np.isfinite(estimate.value)
    assert np.isfinite(estimate.low)  # one row in thirty is in 63% of the resamples
    only = Scored(**{**scored.__dict__, "truth": np.zeros(30, dtype=np.int64)})
    assert "roc_auc" not in bootstrap([only], samples=50).models[0]


def test_a_class_that_the_rows_lack_is_left_out_of_the_mean() -> None:
    scored = multiclass(rows=200)
    without = scored.take(scored.truth != 2)
    fast = bootstrap([without], samples=30, seed=2).models[0]
    slow = plain_bootstrap(without, 30, 2)
    for name in ("roc_auc_ovr", "f1_macro"):
        assert fast[name].low == pytest.approx(np.quantile(slow[name], 0.025), abs=1e-9)


@settings(deadline=None, max_examples=60)
@given(
    st.data(),
    st_numpy.arrays(np.float64, st.integers(4, 30), elements=st.sampled_from([0.0, 0.2, 0.5, 0.7, 1.0])),
)
def test_ranking_agrees_with_scikit_learn_for_any_ties_and_weights(
    data: st.DataObject, score: np.ndarray
) -> None:
    from sklearn.metrics import average_precision_score, roc_auc_score

    truth = np.array(data.draw(st.lists(st.booleans(), min_size=len(score), max_size=len(score))))
    truth[:2] = True, False
    counts = np.array(
        data.draw(st.lists(st.integers(0, 4), min_size=len(score), max_size=len(score))), dtype=float
    )
    counts[:2] = 1, 1
    ranking = Ranking(truth, score)
    assert ranking.roc_auc(counts[None])[0] == pytest.approx(
        roc_auc_score(truth, score, sample_weight=counts)
    )
    assert ranking.average_precision(counts[None])[0] == pytest.approx(
        average_precision_score(truth, score, sample_weight=counts)
    )


def test_scores_and_bootstrap_name_the_same_metrics() -> None:
    for maker in MAKERS:
        scored = maker()
        assert set(weighted_metrics(scored)(np.ones((1, scored.rows)))) == set(METRICS[scored.task])
        assert (
            scores(
                scored.task,
                scored.truth,
                scored.predicted,
                scored.probabilities,
                scored.classes,
                scored.positive,
            ).keys()
            == METRICS[scored.task].keys()
        )
