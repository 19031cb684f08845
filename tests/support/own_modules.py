"""Models of a class that only a bundle's own module has: nothing else can load them."""

import copy
import sys
from types import ModuleType

from support.places import dumped

OWN_MODULE = '''"""A tree whose class is nowhere installed."""

from sklearn.tree import DecisionTreeRegressor


class OwnTree(DecisionTreeRegressor):
    pass
'''


def own_tree(tree):
    """Return a fitted tree of scikit-learn as one of a class in a module of its own, dumped, and the files of that module."""
    module = ModuleType("own_trees")
    exec(OWN_MODULE, module.__dict__)
    sys.modules["own_trees"] = module  # a class is dumped by its name, which must lead to it
    try:
        own = copy.deepcopy(tree)
        own.__class__ = module.OwnTree
        return dumped(own), {"own_trees.py": OWN_MODULE.encode()}
    finally:
        del sys.modules["own_trees"]
