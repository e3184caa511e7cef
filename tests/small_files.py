"A small rating file, and what may become of it in another form."

from thu_big_data_ml.data.errors import RatingFileError
from thu_big_data_ml.data.sources import load_ratings

LINES = "userId,movieId,rating\n" + "".join(
    f"{user},{movie},{1 + (user + movie) % 5}\n" for user in range(1, 6) for movie in range(10, 15)
)


def refused_or_read(source, form):
    "The 25 ratings of `LINES`, or a sentence that names the form."
    try:
        data = load_ratings(source)
    except RatingFileError as error:
        said = str(error).replace(str(source), "")
        assert form in said, said
    else:
        assert len(data.train) + len(data.test) == 25
