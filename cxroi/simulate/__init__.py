"""Simulated companies whose truth is known: the contract's tables in a folder, the truth in a file beside it.

``worlds`` holds the parameters, ``process`` customers and quarters, ``loyalty`` what makes them come back beside
satisfaction, ``rows`` the tables' rows, ``files`` their writing, ``truth`` what one more point really changes,
``company`` puts them together.
"""

from cxroi.simulate.company import simulate
from cxroi.simulate.worlds import WORLDS, World, world_named

__all__ = ["WORLDS", "World", "simulate", "world_named"]
