"""Feast's definitions: `definitions` declares entities, views and services from `fpm.schema`.

Imports: fpm.
"""
