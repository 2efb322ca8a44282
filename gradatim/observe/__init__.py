"""Observe: what happened, and whom do we believe?

    documents   a file becomes a Document
    passages    a Document becomes Passages, one sentence each
    feedback    a file of people's words becomes Feedback
    screening   what a person would not believe goes to quarantine

Below them: `files`, `markdown` and `sentences` for reading; `noise`, `votes` and `claims` for screening, the last on
`values`, `topics` and `vocabulary`.
"""
