"How often the fault tests try: a few times in every run, many times by `make faults`."

import os

SEED = int(os.environ.get("FAULTS_SEED", "0"))


def trials(few: int, many: int) -> int:
    "`few`, or `many` where `FAULTS=long` is in the environment."
    return many if os.environ.get("FAULTS") == "long" else few
