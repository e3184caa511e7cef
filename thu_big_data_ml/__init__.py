"""Predict ratings at Netflix scale by collaborative filtering and matrix factorization.

Every public name is an attribute of this package, and is loaded when it is first used:

>>> from thu_big_data_ml import UserCF
>>> UserCF(n_neighbors=40)
UserCF(n_neighbors=40)

The list of names stands in `__init__.pyi`, where type checkers read it too.
"""

__version__ = "0.7.0"

import os

import lazy_loader as lazy

# Threads without work sleep. OpenMP reads this when torch or scikit-learn loads it.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
