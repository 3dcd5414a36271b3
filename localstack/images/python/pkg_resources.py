"""Stands in for setuptools' module, which gunicorn imports and uses only for plug-ins that are not here.

The real one reads every installed package's metadata, which takes longer than all the rest of a start.
"""
