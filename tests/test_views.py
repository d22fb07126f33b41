"""Views of rows beside known ones: what they are worth by formula, without the row itself, and together."""

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import norm

from unwarp.estimators._views import Views, together


def seen(rows, known=None, seed=0):
    known = np.ones(len(rows), dtype=bool) if known is None else known
    return Views.learn(rows, known, seed)


def table(rows=40, seed=0):
    return np.random.default_rng(seed).normal(size=(rows, 2)) * [1.0, 50.0]


def test_near_and_broad_are_densities_under_noise():
    x, new = table(), table(5, seed=1)
    views, _ = seen(x)
    units, at = (x - x.mean(0)) / x.std(0), (new - x.mean(0)) / x.std(0)
    for place, noise in enumerate((0.1, 1.0)):
        each = norm.logpdf(at[:, None], units, noise).sum(axis=2) + 2 * np.log(noise * np.sqrt(2 * np.pi))
        np.testing.assert_allclose(views.of(new)[:, place], logsumexp(each, axis=1), rtol=0.02, atol=0.05)


def test_columns_count_how_far_out_each_value_is():
    x = np.arange(9.0)[:, None] * [1.0, -2.0]
    views, _ = seen(x)
    found = views.of(np.array([[4.0, -8.0], [-1.0, -8.0], [8.0, 5.0]]))[:, 2]
    np.testing.assert_allclose(found, [2 * np.log(6 / 10), np.log(1 / 10) + np.log(6 / 10), np.log(2 / 10 / 10)])


def test_a_known_row_is_seen_without_itself():
    x = table()
    views, place = seen(x)
    rest, _ = seen(x, np.arange(40) > 0)
    rest = Views(views.center, views.scale, np.delete(views.rows, place[0], axis=0))
    np.testing.assert_allclose(views.of(x[:1], place[:1]), rest.of(x[:1]), rtol=1e-9)


def test_rows_that_are_not_known_have_no_place_and_many_are_thinned_out():
    x = np.random.default_rng(0).normal(size=(6000, 50))
    views, place = seen(x, np.arange(6000) < 5000)
    assert views.rows.shape == (1600, 50)
    assert (place[5000:] == -1).all()
    assert sorted(place[place >= 0]) == list(range(1600))


def test_views_come_back_from_json():
    views, _ = seen(table())
    again = Views.from_json(**views.to_json())
    np.testing.assert_array_equal(again.of(table(9, 2)), views.of(table(9, 2)))
    with pytest.raises(ValueError, match="reshape"):
        Views.from_json([0.0] * 2, [1.0] * 2, views.to_json()["rows"][:8])


def test_scores_together_are_the_mean_logarithm_of_p_values():
    reference = np.arange(9.0)[:, None] * [1.0, 10.0]
    found = together(np.array([[0.0, 80.0], [4.0, 40.0]]), reference)
    np.testing.assert_allclose(found, [np.log(2 / 10) / 2, np.log(6 / 10)])


def test_below_the_lowest_scores_go_on_falling_and_impossible_rows_are_last():
    reference = np.sort(np.random.default_rng(0).normal(size=(200, 2)), axis=0)
    rows = np.array([[-4.0, 0.0], [-5.0, 0.0], [-50.0, 0.0], [-np.inf, 0.0]])
    found = together(rows, reference)
    assert (np.diff(found) < 0).all()
    assert np.isneginf(found[3])
    assert found[2] < together(rows[:, ::-1], reference)[2]  # the flow's word falls faster


def test_rows_of_the_reference_are_counted_without_themselves():
    """The first of n rows beside the others is the first of n for a new row too: scores are exchangeable."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(400, 2))
    own = together(rows, np.sort(rows, axis=0), np.ones(400, dtype=bool))
    for i in (*np.argsort(rows[:, 0])[:3], *range(20)):
        new = together(rows[i : i + 1], np.sort(np.delete(rows, i, axis=0), axis=0))
        np.testing.assert_allclose(own[i], new[0], rtol=0.1, atol=0.05)
