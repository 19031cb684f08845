"""Writes a model whose class is pickled by value, as a notebook does with cloudpickle: the files beside this one.

    pythonX.Y -m pip install cloudpickle==3.1.2
    pythonX.Y recipe.py pythonX.Y.pickle

Its own code runs when it is loaded, so that byte-code of another Python shows at once.
"""

import sys
from pathlib import Path

import cloudpickle


def scaled(factor):
    def scale(values):
        return [factor * float(value) for value in values]

    return scale


class Scaled:
    def __init__(self):
        self.scale = scaled(3)

    def __setstate__(self, state):
        self.__dict__.update(state)
        self.loaded = len(self.scale([1, 2])) and isinstance(self, Scaled)

    def predict(self, features):
        return self.scale(row[0] for row in features)


if __name__ == "__main__":
    Path(sys.argv[1]).write_bytes(cloudpickle.dumps(Scaled()))
