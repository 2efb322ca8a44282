"""Where bytes and rows live: content-addressed blobs and adapters, and the tables of what happened in use.

Nothing is imported here, so that the offline verifier can use `blobs` and `adapters` without SQLAlchemy.
"""
