"""Observe: what happened, and whom do we believe?

documents   a file becomes a Document
passages    a Document becomes Passages, one sentence each
feedback    a file of people's words becomes Feedback
screening   what a person would not believe goes to quarantine
"""
