"""A bakery's handbook, learnt: the story that `gradatim demo` tells, and the report it leaves.

`story` runs the same commands that a person would; `report` turns what they returned into one HTML file. The material
is in the files beside them (see README.md).
"""
