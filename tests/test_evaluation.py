"Metrics, standard errors, splits by time, and the comparison of any models."

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.metrics import ndcg_score

from thu_big_data_ml.data.ratings import split_ratings
from thu_big_data_ml.data.sources import load_ratings
from thu_big_data_ml.data.synthetic import synthetic_ratings
from thu_big_data_ml.estimators.baseline import BaselinePredictor
from thu_big_data_ml.evaluation import comparison
from thu_big_data_ml.evaluation.comparison import (
    compare,
    compare_cold_start,
    compare_updates,
    default_models,
    plot_cold_start,
)
from thu_big_data_ml.evaluation.improvements import ladder_table, plot_ladder
from thu_big_data_ml.evaluation.scaling import growth_exponent, plot_growth
from thu_big_data_ml.factorization.sgd import SGDFactorization
from thu_big_data_ml.metrics import (
    calibration,
    interval_coverage,
    mean_and_error,
    paired_difference,
    ranking_at,
    rmse,
    rmse_and_error,
)
from thu_big_data_ml.neighbors.correction import NeighborCorrected


@pytest.fixture(scope="module")
def ratings():
    data = synthetic_ratings(150, 100, 5000, random_state=5)
    return pd.concat([data.train, data.test], ignore_index=True)


def test_standard_errors_are_the_scatter_of_repeated_samples():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(100), 20)
    samples = [rng.standard_normal(100)[groups] + rng.standard_normal(2000) for _ in range(300)]
    scatter = np.std([s.mean() for s in samples])
    grouped, alone = (np.mean([mean_and_error(s, g)[1] for s in samples]) for g in (groups, None))
    assert grouped == pytest.approx(scatter, rel=0.15) and alone < scatter / 2
    errors = [rmse_and_error(s, np.zeros(2000), groups) for s in samples]
    assert np.mean([e for _, e in errors]) == pytest.approx(
        np.std([r for r, _ in errors]), rel=0.15
    )


def test_paired_differences_are_antisymmetric_and_zero_of_the_same():
    rng = np.random.default_rng(1)
    y, a, b = rng.normal(size=(3, 500))
    there, back = paired_difference(y, a, b), paired_difference(y, b, a)
    assert (
        there["difference"]
        == pytest.approx(rmse(y, a) - rmse(y, b))
        == pytest.approx(-back["difference"])
    )
    assert there["ratio"] == pytest.approx(-back["ratio"]) and there[
        "standard_error"
    ] == pytest.approx(back["standard_error"])
    assert paired_difference(y, a, a)["difference"] == 0


def test_ranking_is_that_of_a_sorted_list(ratings):
    rng = np.random.default_rng(2)
    prediction = rng.normal(size=len(ratings))
    table = ranking_at(ratings["user_id"], ratings["rating"], prediction, k=5)
    for user, part in ratings.assign(prediction=prediction).groupby("user_id"):
        relevant = part["rating"] >= 4
        assert (user in table.index) == (len(part) > 5 and relevant.any())
        if user in table.index:
            hits = relevant[part["prediction"].nlargest(5).index].sum()
            expected = [
                len(part),
                relevant.sum(),
                hits / 5,
                hits / relevant.sum(),
                ndcg_score([relevant], [part["prediction"]], k=5),
            ]
            np.testing.assert_allclose(table.loc[user].to_numpy(float), expected)
    perfect = ranking_at(ratings["user_id"], ratings["rating"], ratings["rating"], k=5)
    assert np.allclose(perfect["ndcg"], 1) and (perfect["precision"] >= table["precision"]).all()
    shuffled = ranking_at(
        ratings["user_id"].to_numpy(), ratings["rating"], np.zeros(len(ratings)), k=5
    )
    assert np.allclose(shuffled["precision"], shuffled["n_relevant"] / shuffled["n_candidates"])


@pytest.mark.parametrize(
    "ask",
    [
        lambda bad: rmse_and_error([3, 4], bad),
        lambda bad: paired_difference([3, 4], [3, 4], bad),
        lambda bad: ranking_at([1, 1], [3, 4], bad),
        lambda bad: calibration([3, 4], bad),
        lambda bad: interval_coverage([3, 4], [3, 4], bad),
        lambda bad: mean_and_error(bad, [1, 2]),
    ],
)
@pytest.mark.parametrize("bad", [[np.nan, 3], [np.inf, 3], [3], [], [1, 2, 3]])
def test_bad_columns_are_refused(ask, bad):
    with pytest.raises(ValueError):
        ask(bad)


def test_negative_deviations_are_refused_by_row():
    with pytest.raises(ValueError, match="row 1: .*-2"):
        interval_coverage([3, 3], [3, 3], [1, -2])


def test_the_latest_of_each_user_are_held_out(ratings):
    train, test = split_ratings(ratings, 0.2, order="user_time")
    assert (
        len(train) + len(test) == len(ratings)
        and not pd.concat([train, test]).duplicated(["user_id", "movie_id"]).any()
    )
    assert (
        test.groupby("user_id")["date"].min()
        >= train.groupby("user_id")["date"].max().reindex(test["user_id"].unique()).sort_index()
    ).all()
    counts = ratings["user_id"].value_counts().sort_index()
    np.testing.assert_array_equal(
        test["user_id"].value_counts().reindex(counts.index, fill_value=0), counts // 5
    )


def test_the_latest_of_all_are_held_out(ratings):
    train, test = split_ratings(ratings, 0.25, order="time")
    assert len(test) == len(ratings) // 4 and train["date"].max() <= test["date"].min()
    again = [split_ratings(ratings, 0.25, seed, order="time")[1] for seed in (0, 0, 1)]
    pd.testing.assert_frame_equal(again[0], again[1])
    assert set(again[0]["date"]) == set(again[2]["date"])  # the seed decides among equal dates only


def test_orders_reach_load_ratings(tmp_path):
    (tmp_path / "ratings.txt").write_text(
        "".join(
            f"{u} {m} {(u * m) % 5 + 1} 2005-01-{(u + 2 * m) % 28 + 1:02d}\n"
            for u in range(1, 9)
            for m in range(1, 12)
        )
    )
    by_time = load_ratings(tmp_path, order="time")
    assert by_time.train["date"].max() <= by_time.test["date"].min()
    assert set(load_ratings(tmp_path, order="user_time").test["user_id"]) == set(range(1, 9))
    with pytest.raises(ValueError, match="'chance'"):
        load_ratings(tmp_path, order="chance")
    (tmp_path / "ratings.txt").write_text("1 2 3\n1 3 4\n2 2 5\n")
    with pytest.raises(ValueError, match="no column date"):
        load_ratings(tmp_path, order="time")


class Bare:
    "A model that is no estimator: it says the mean, and looks for ratings that it must not see."

    def fit(self, X, y):
        assert list(X.columns) == ["user_id", "movie_id", "date"]
        self.level = np.full(1000, float(y.mean()))
        self.again = dict(level=self.level)

    def predict(self, X):
        assert list(X.columns) == ["user_id", "movie_id", "date"]
        return np.full(len(X), self.level[0])


def test_any_model_is_compared_and_none_sees_a_test_rating():
    data = synthetic_ratings(60, 40, 900, random_state=0)
    models = {"mine": Bare(), "biases": BaselinePredictor()}
    table, predictions = compare(models, data)
    assert list(table.index) == list(predictions) == list(models)
    expected = np.full(len(data.test), data.train["rating"].mean())
    np.testing.assert_allclose(predictions["mine"], expected)
    assert table.loc["mine", "rmse"] == pytest.approx(rmse(data.test["rating"], expected))
    assert table.loc["mine", "model_megabytes"] == 8000 / 1e6  # an array under two names
    again = BaselinePredictor().fit(data.train).predict(data.test)
    np.testing.assert_array_equal(predictions["biases"], again)
    np.testing.assert_array_equal(models["biases"].predict(data.test), again)  # fitted in place


def test_a_rehearsal_leaves_checkpoints_alone(tmp_path):
    data = synthetic_ratings(60, 40, 900, random_state=0)
    trained = SGDFactorization(2, n_epochs=10, checkpoint=tmp_path / "part.npz", random_state=0)
    corrected = NeighborCorrected(trained, n_neighbors=5, validation_fraction=0)
    table, _ = compare({"corrected": corrected}, data)  # a checkpoint of 100 ratings would refuse
    assert table["rmse"].notna().all()


def test_the_models_of_the_report():
    names = [*default_models()]
    assert len(names) == 15 and names[:-2] == [*default_models(time=False)]
    assert all(
        m.get_params().get("random_state", 3) == 3 for m in default_models("cpu", 3).values()
    )


def test_a_ladder_is_pairs_and_its_figure_says_what_leads_to_the_best():
    rng = np.random.default_rng(0)
    y = rng.normal(size=500)
    given = {str(scale): y + rng.normal(0, scale, 500) for scale in (2, 1, 1.5, 0.5)}
    on = {"1": "2", "1.5": "1", "0.5": "1"}
    table = ladder_table(y, given, on)
    assert table["rmse"].tolist() == [rmse(y, prediction) for prediction in given.values()]
    pair = paired_difference(y, given["0.5"], given["1"])
    assert table.loc["0.5", "gain"] == -pair["difference"]
    assert table.loc["0.5", "standard_error"] == pair["standard_error"]
    assert np.isnan(table.loc["2", "gain"]) and table.loc["1.5", "gain"] < 0
    bars, dots, texts = plot_ladder(table).data
    ends = np.array(bars.base) + np.array(bars.x)
    pairs_of_ends = [sorted(pair) for pair in zip(bars.base, ends)]
    np.testing.assert_allclose(pairs_of_ends[1], [table.loc["1", "rmse"], table.loc["2", "rmse"]])
    colours = list(bars.marker.color)
    assert colours[0] == colours[1] == colours[3] != colours[2]
    assert texts.text[2].strip().startswith("\N{MINUS SIGN}") and len(dots.x) == 4
    with pytest.raises(ValueError, match="'3' is no rung"):
        ladder_table(y, given, {"1": "3"})
    with pytest.raises(TypeError, match="ladder_table returns"):
        plot_ladder(None)
    with pytest.raises(ValueError, match="no column 'gain'"):
        plot_ladder(table.drop(columns="gain"))


def test_new_users_are_answered_from_what_they_gave_and_no_more():
    data = synthetic_ratings(150, 100, 5000, random_state=5)
    models = {"biases": BaselinePredictor(user_damping=3), "factors": SGDFactorization(2)}
    models["factors"].set_params(n_epochs=5, random_state=0)
    table = compare_cold_start(models, data, (0, 2, 10), random_state=1)
    assert [*table["model"]] == ["biases"] * 3 + ["factors"] * 3
    assert [*table["n_given"]] == [0, 2, 10] * 2
    assert not hasattr(models["biases"], "matrix_")  # copies learn

    others, given, asked, y = comparison._newcomers(models, data, (10,), 0.2, 1)
    new = asked["user_id"].unique()
    assert not others["user_id"].isin(new).any() and len(new) == 30
    assert set(given["movie_id"]) | set(asked["movie_id"]) <= set(others["movie_id"])
    assert given.groupby("user_id")["date"].is_monotonic_increasing.all()

    # by hand: mean and movies from the others, users from their first two ratings
    model = BaselinePredictor(user_damping=3).fit(others)
    level = model.global_mean_ + pd.Series(model.movie_bias_, model.movie_ids_)
    first = given.groupby("user_id").head(2)
    above = (first["rating"] - first["movie_id"].map(level)).groupby(first["user_id"])
    bias = above.sum() / (above.size() + 3)
    expected = asked["movie_id"].map(level) + asked["user_id"].map(bias)
    expected = rmse(y, np.clip(expected, *model.rating_scale_))
    assert table["rmse"][1] == pytest.approx(expected, abs=1e-6)
    # with nothing given the biases answer for all, each model with its own damping
    assert table["rmse"][0] == pytest.approx(rmse(y, np.clip(asked["movie_id"].map(level), 1, 5)))
    figure = plot_cold_start(table)
    assert [line.name for line in figure.data] == ["biases", "factors"]
    assert [*figure.data[0].x] == ["0", "2", "10"]


def test_updates_are_timed_on_copies():
    data = synthetic_ratings(60, 40, 900, random_state=0)
    model = BaselinePredictor().fit(data.train)
    before = model.predict(data.test)
    table = compare_updates({"biases": model}, data, n_given=3, n_repeats=2)
    assert [*table] == ["new_user_seconds", "new_rating_seconds"] and (table > 0).all(axis=None)
    np.testing.assert_array_equal(model.predict(data.test), before)
    users, ratings = comparison._new_users_and_ratings(data, 3, 4)
    assert all(len(part) == 3 and part["user_id"].nunique() == 1 for part in users)
    assert not set(users[0]["user_id"]) & set(data.user_ids) and all(len(r) == 1 for r in ratings)


def test_questions_on_new_users_say_what_they_need():
    data = synthetic_ratings(60, 40, 900, random_state=0)
    one = {"biases": BaselinePredictor()}
    for arguments, options, said in (
        (({"mean": Bare()}, data), {}, "no fold_in"),
        ((one, data), dict(n_given=(0, 2.5)), "n_given"),
        ((one, data), dict(n_given=()), "n_given"),
        ((one, data), dict(n_given=(0, 1000)), "lower share or n_given"),
        ((one, data), dict(share=1), "share"),
        ((one, data.train), {}, "RatingData"),
    ):
        with pytest.raises((TypeError, ValueError), match=said):
            compare_cold_start(*arguments, **options)
    with pytest.raises(NotFittedError):
        compare_updates(one, data, n_given=3)
    with pytest.raises(ValueError, match="1000 ratings"):
        compare_updates({"biases": BaselinePredictor().fit(data.train)}, data, n_given=1000)
    for wrong in (None, pd.DataFrame({"rmse": [1.0]})):
        with pytest.raises((TypeError, ValueError), match="compare_cold_start.* return"):
            plot_cold_start(wrong)


def test_planted_exponents_are_found_and_stand_beside_their_names():
    sizes = np.array([3, 10, 40, 500])
    for power in (-0.5, 0, 1, 2.3):
        assert growth_exponent(sizes, 7 * sizes**power) == pytest.approx(power, abs=1e-12)
    # the slope of the least squares, not of the ends: numpy's
    noisy = sizes * [1.3, 0.8, 1.1, 0.9]
    assert growth_exponent(sizes, noisy) == pytest.approx(
        np.polyfit(np.log(sizes), np.log(noisy), 1)[0]
    )
    steps = {"pairs": 0.01 * sizes**2.0, "passes": 2.0 * sizes, "none": np.full(4, 5.0)}
    table = pd.concat([pd.DataFrame(dict(n=sizes, s=s, step=k)) for k, s in steps.items()])
    figure = plot_growth(table.sample(frac=1, random_state=0), "n", "s")
    assert [line.name for line in figure.data] == ["pairs: 2.0", "passes: 1.0", "none: 0.0"]
    for line, costs in zip(figure.data, steps.values()):
        assert list(line.x) == sizes.tolist() and list(line.y) == costs.round(4).tolist()
    assert figure.layout.xaxis.type == figure.layout.yaxis.type == "log"


def test_growth_says_what_it_needs():
    for sizes, costs in (
        ([1, 2], [1]),
        ([2, 2], [1, 3]),
        ([], []),
        ([1, 0], [1, 2]),
        ([1, 2], [1, np.nan]),
        ([[1, 2]], [[1, 2]]),
    ):
        with pytest.raises(ValueError, match="two different sizes|above 0"):
            growth_exponent(sizes, costs)
    table = pd.DataFrame(dict(step="a", users=[1, 2], seconds=[1.0, 2.0]))
    with pytest.raises(TypeError, match="DataFrame"):
        plot_growth([1, 2], "users")
    with pytest.raises(ValueError, match="no column 'bytes'"):
        plot_growth(table, "users", "bytes")
    with pytest.raises(ValueError, match="above 0"):
        plot_growth(table.assign(seconds=[0.0, 1.0]), "users")
