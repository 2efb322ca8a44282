"""Watch: is it still good, and what did it cost?

cost        seconds, tokens and joules of a block of work, against a budget
drift       whether a day's traffic is like that of the days before
proxy       ratings against corrections and exams
incidents   what a person must look at, with a clock, in the ledger
"""
