"Figures of the chapter on user-based CF: what they draw, and what they refuse."

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix

from thu_big_data_ml import masked_product, plot_masked_product, plot_n_neighbors
from thu_big_data_ml import plot_time_and_bytes as plot_costs

S = np.array([[1, 0.7, 0.5], [0.7, 1, 0.9], [0.5, 0.9, 1]])
R = np.array([[5.0, 5, 0, 0], [4, 3, 5, 0], [2, 0, 2, 0]])
ways = pd.MultiIndex.from_tuples([("a", "slow"), ("a", "fast"), ("b", "other")])
costs = pd.DataFrame({"seconds": [300.0, 0.25, 1.0], "megabytes": [1e4, 3.0, 2.0]}, ways)


@pytest.mark.parametrize(
    "ratings", [R, csr_matrix(R), pd.DataFrame(R).replace(0, np.nan), R.tolist()]
)
def test_the_panels_are_the_steps_of_the_masked_product(ratings):
    panels = plot_masked_product(S, ratings, cell=(0, 2)).data
    stars, mask, top, bottom, weights, quotient = (panel.z for panel in panels)
    assert np.array_equal(stars, R) and np.array_equal(mask, R != 0) and np.array_equal(weights, S)
    assert np.allclose(top, S @ R) and np.allclose(bottom, S @ (R != 0))
    assert np.allclose(quotient, masked_product(S, R), equal_nan=True)
    assert panels[5].text[0][2] == "3.75" and panels[5].text[0][3] == "none"


def test_names_of_users_and_movies_are_on_the_axes():
    fig = plot_masked_product(S, pd.DataFrame(R, ["Ann", "Bob", "Cat"], list("wxyz")))
    assert list(fig.data[0].y) == ["Ann", "Bob", "Cat"] == list(fig.data[4].x)
    assert list(fig.data[5].x) == list("wxyz") and not fig.layout.shapes


def test_costs_have_a_point_a_way_in_both_panels():
    points = plot_costs(costs).data
    assert [point.name for point in points] == ["a", "b", "a", "b"]
    assert points[0].text == ("300 s", "0.25 s") and points[2].text == ("10,000 MB", "3 MB")


def test_lines_are_named_at_their_ends():
    errors = pd.DataFrame({"plain": [1.1, 0.9], "shrunk": [0.87, 0.86]}, [1, 10])
    plain, shrunk = plot_n_neighbors(errors, 0.885).data
    assert plain.text == ("", "plain") and plain.textposition == "top left"
    assert shrunk.textposition == "bottom left"


@pytest.mark.parametrize(
    "use, words",
    [
        (lambda: plot_masked_product(S[:2], R), "do not fit"),
        (lambda: plot_masked_product(np.eye(20), np.ones((20, 2))), "100 cells"),
        (lambda: plot_masked_product(S, R, cell=(3, 0)), "outside"),
        (lambda: plot_costs(None), "two levels"),
        (lambda: plot_costs(costs.droplevel(0)), "two levels"),
        (lambda: plot_costs(costs * 0), "above 0"),
        (lambda: plot_costs(costs[["seconds"]]), "megabytes"),
        (lambda: plot_n_neighbors([1.0]), "not a list"),
        (lambda: plot_n_neighbors(pd.DataFrame({"a": [1.0]}, [0])), "above 0"),
        (lambda: plot_n_neighbors(pd.DataFrame({"a": [1.0]}, ["x"])), "above 0"),
    ],
)
def test_what_is_no_figure_is_refused_in_a_sentence(use, words):
    with pytest.raises((TypeError, ValueError), match=words):
        use()
