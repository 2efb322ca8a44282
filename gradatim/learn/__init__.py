"""Learn: how does it learn without forgetting? Training on the bank, under guards."""

from gradatim.learn.replay import base_replies, replay_prompts
from gradatim.learn.trainer import Labels, Shown, Trainer
from gradatim.learn.training import Trainee, TrainingLog, train

__all__ = ["Labels", "Shown", "Trainee", "Trainer", "TrainingLog", "base_replies", "replay_prompts", "train"]
