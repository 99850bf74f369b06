"""Notebooks with checked parameters, run into a folder that is written whole or not at all.

``parameters`` knows what each notebook takes, ``run`` executes them, ``model`` is the report as data, ``html`` writes
it.
"""
