"""What Feast knows: `definitions` declares entities, views and services from `fpm.schema`.

Imports: fpm.
"""
