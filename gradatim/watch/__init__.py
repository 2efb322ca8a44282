"""Watch: is it still good, and what did it cost?

cost    seconds, tokens and joules of a block of work, against a budget
"""
