"Fits by several workers equal those of one: by threads here, by processes of torchrun below."

import numpy as np
import pytest
from teams import in_team

from thu_big_data_ml import BaselinePredictor, SGDFactorization, synthetic_ratings


@pytest.mark.parametrize("n_workers", [2, 3, 5])
def test_biases_of_a_team(n_workers):
    train = synthetic_ratings(60, 40, 900, random_state=0).train
    alone = BaselinePredictor().fit(train)
    team = in_team(lambda _: BaselinePredictor().fit(train), [None] * n_workers)
    users = np.concatenate([member.user_bias_ for member in team])
    assert np.allclose(users, alone.user_bias_, rtol=0, atol=1e-6)
    assert np.array_equal(np.concatenate([m.user_ids_ for m in team]), alone.user_ids_)
    sizes = [member.matrix_.nnz for member in team]
    assert sum(sizes) == len(train) and max(sizes) < 2 * len(train) / n_workers
    for member in team:
        assert np.allclose(member.movie_bias_, alone.movie_bias_, rtol=0, atol=1e-6)
        assert member.rating_scale_ == alone.rating_scale_


def test_models_that_do_not_add_up_say_so():
    train = synthetic_ratings(60, 40, 900, random_state=0).train
    with pytest.raises(TypeError, match=r"SGDFactorization cannot .* ALSFactorization"):
        in_team(lambda _: SGDFactorization().fit(train), [None] * 2)
