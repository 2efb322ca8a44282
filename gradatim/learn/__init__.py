"""Learn: how does it learn without forgetting? Training on the bank, under guards."""

from gradatim.learn.replay import base_replies, replay_prompts
from gradatim.learn.training import Trainee, TrainingLog, train

__all__ = ["Trainee", "TrainingLog", "base_replies", "replay_prompts", "train"]
