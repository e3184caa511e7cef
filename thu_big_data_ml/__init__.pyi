# The public names and where they come from: lazy_loader and type checkers read this list.
from .help import (
    data_path,
    figure,
    get_device,
    joblib_memory,
    ratings_source,
)
from .metrics import (
    calibration,
    error_by_activity,
    interval_coverage,
    mae,
    mean_and_error,
    paired_difference,
    ranking_at,
    rmse,
    rmse_and_error,
)
from .data.errors import RatingFileError
from .data.ratings import (
    analyse_split,
    get_rating_matrix,
    plot_ratings,
    plot_splits,
    RatingData,
    split_ratings,
)
from .data.files import read_ratings
from .data.titles import (
    read_movie_titles,
    read_users,
)
from .data.synthetic import synthetic_ratings
from .data.download import download_netflix
from .data.sources import load_ratings
from .data.prize import (
    cut_subset,
    PrizeRatings,
    read_prize,
)
from .estimators.biases import damped_biases
from .estimators.contract import RatingEstimator
from .estimators.baseline import BaselinePredictor
from .neighbors.similarity import (
    center_ratings,
    cosine_by_matrix_product,
    nearest_users,
    user_similarity,
)
from .neighbors.user_cf import (
    compute_weighted_sum_on_matrix,
    ItemCF,
    masked_product,
    plot_masked_product,
    plot_n_neighbors,
    plot_time_and_bytes,
    UserCF,
)
from .neighbors.correction import NeighborCorrected
from .factorization.matrix_factorization import (
    masked_mse_loss,
    masked_rmse_loss,
    MatrixFactorization,
    MatrixFactorizationRegressor,
    plot_factor_map,
    plot_history,
    plot_validation_curves,
    train_matrix_factorization,
)
from .factorization.als import (
    ALSFactorization,
    train_als,
)
from .factorization.sgd import (
    SGDFactorization,
    train_sgd,
)
from .bayesian.gibbs import (
    GibbsFactorization,
    sample_chains,
    sample_factors,
)
from .bayesian.posterior import PosteriorSamples
from .bayesian.variational import (
    PosteriorMoments,
    VariationalFactorization,
    infer_factors,
)
from .evaluation.tuning import (
    CachedScore,
    one_standard_error,
    plot_grid,
    plot_search,
    repeated_splits,
    score_and_seconds,
    search_parameters,
    search_progress,
    search_results,
)
from .evaluation.comparison import (
    compare,
    compare_cold_start,
    compare_updates,
    default_models,
    plot_cold_start,
    plot_comparison,
    plot_error_by_activity,
)
from .evaluation.improvements import (
    ladder_table,
    plot_ladder,
)
from .evaluation.lists import (
    evaluate_lists,
    plot_lists,
)
from .evaluation.scaling import (
    growth_exponent,
    plot_growth,
)

__version__: str
__all__ = [
    "ALSFactorization",
    "BaselinePredictor",
    "CachedScore",
    "GibbsFactorization",
    "ItemCF",
    "MatrixFactorization",
    "MatrixFactorizationRegressor",
    "NeighborCorrected",
    "PosteriorMoments",
    "PosteriorSamples",
    "PrizeRatings",
    "RatingData",
    "RatingEstimator",
    "RatingFileError",
    "SGDFactorization",
    "UserCF",
    "VariationalFactorization",
    "analyse_split",
    "calibration",
    "center_ratings",
    "compare",
    "compare_cold_start",
    "compare_updates",
    "compute_weighted_sum_on_matrix",
    "cosine_by_matrix_product",
    "cut_subset",
    "damped_biases",
    "data_path",
    "default_models",
    "download_netflix",
    "error_by_activity",
    "evaluate_lists",
    "figure",
    "get_device",
    "get_rating_matrix",
    "growth_exponent",
    "infer_factors",
    "interval_coverage",
    "joblib_memory",
    "ladder_table",
    "load_ratings",
    "mae",
    "masked_mse_loss",
    "masked_product",
    "masked_rmse_loss",
    "mean_and_error",
    "nearest_users",
    "one_standard_error",
    "paired_difference",
    "plot_cold_start",
    "plot_comparison",
    "plot_error_by_activity",
    "plot_factor_map",
    "plot_grid",
    "plot_growth",
    "plot_history",
    "plot_ladder",
    "plot_lists",
    "plot_masked_product",
    "plot_n_neighbors",
    "plot_ratings",
    "plot_search",
    "plot_splits",
    "plot_time_and_bytes",
    "plot_validation_curves",
    "ranking_at",
    "ratings_source",
    "read_movie_titles",
    "read_prize",
    "read_ratings",
    "read_users",
    "repeated_splits",
    "rmse",
    "rmse_and_error",
    "sample_chains",
    "sample_factors",
    "score_and_seconds",
    "search_parameters",
    "search_progress",
    "search_results",
    "split_ratings",
    "synthetic_ratings",
    "train_als",
    "train_matrix_factorization",
    "train_sgd",
    "user_similarity",
]
