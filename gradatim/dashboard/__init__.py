"""What an operator looks at with a browser: server-rendered pages at /ui over the control plane, and nothing besides.

app.py        the pages' app: who is signed in, errors, headers       traced.py    values that know where they came from
pages.py      which of the API's answers each page is made of         formats.py   how figures are written
actions.py    forms, and the orders they become                       plots.py     drawings, as SVG
sessions.py   who is signed in                                        control.py   the control plane, asked in-process

A page can't show a number that the API doesn't give: it is rendered from the API's own answers, each value of which
carries its place in them into the page.
"""

from gradatim.dashboard.app import add_dashboard

__all__ = ["add_dashboard"]
