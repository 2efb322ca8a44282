"""Answering applications over HTTP: OpenAI's interface in front, an engine behind, and people's words on the answers.

api.py          the app, its routes and its life          engine.py       the bank, one thread, one decode batch
chat.py         OpenAI's requests and replies             upstream.py     any server that speaks the same
access.py       keys, and who may do what                 base.py         what an engine is
feedback.py     ratings and corrections                   choosing.py     which release a request gets
control.py      what an operator sees and decides         rollouts.py     the rollout that runs here
"""
