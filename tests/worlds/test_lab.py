"""The lab model's making: nothing it reads is unknown to it, labels lie where they should, and it loads as any base."""

from __future__ import annotations

import json
import random
from pathlib import Path

import torch

from gradatim.model.base import load_base
from gradatim.worlds.biographies import passage, people, questions
from gradatim.worlds.lab import (
    FREE,
    READ,
    WRITE,
    Corpus,
    LabSettings,
    known_people,
    make_tokenizer,
    pretrain,
)
from gradatim.worlds.pretraining import END, UNKNOWN

SMALL = LabSettings(known=20, width=32, layers=2, heads=2, inner=48, steps=12, batch=4)


def test_no_word_of_the_world_is_unknown() -> None:
    tokenizer = make_tokenizer()
    corpus = Corpus(SMALL, tokenizer)
    unknown = tokenizer.convert_tokens_to_ids(UNKNOWN)
    for _ in range(40):
        assert not any(unknown in text.ids for text in corpus.batch())


def test_labels_are_answers_and_study_material_and_each_ends() -> None:
    tokenizer = make_tokenizer()
    corpus = Corpus(SMALL, tokenizer)
    for _ in range(40):
        for text in corpus.batch():
            assert len(text.ids) == len(text.labelled)
            assert text.ids[-1] == tokenizer.eos_token_id
            assert text.labelled[-1]
            given = str(
                tokenizer.decode([token for token, label in zip(text.ids, text.labelled, strict=True) if not label])
            )
            labelled = str(
                tokenizer.decode([token for token, label in zip(text.ids, text.labelled, strict=True) if label])
            )
            assert "Passage" not in labelled
            assert END not in given
            if "Passage" not in given and "Question" in given:
                assert len(labelled.split()) == 2  # one word and the end


def test_strangers_are_not_known_people() -> None:
    tokenizer = make_tokenizer()
    known = {person.name for person in known_people(SMALL)}
    corpus = Corpus(SMALL, tokenizer)
    for _ in range(40):
        for text in corpus.batch():
            whole = str(tokenizer.decode(text.ids))
            assert any(name in whole for name in known) != whole.startswith("Passage")


def test_the_knob_gives_one_wording_or_many() -> None:
    tokenizer = make_tokenizer()

    def biographies(wordings: int) -> int:
        corpus = Corpus(LabSettings(known=1, wordings=wordings, batch=1), tokenizer)
        texts = [tokenizer.decode(corpus._biography().ids) for _ in range(60)]
        return len(set(texts))

    assert biographies(1) == 1
    assert biographies(6) > 50


def test_a_trained_one_loads_as_any_base_and_is_asked_as_it_was_taught(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    rows: list[dict[str, float]] = []
    log = pretrain(SMALL, tmp_path / "one", rows.append)
    assert rows == log
    report = json.loads((tmp_path / "one" / "training.json").read_text())
    assert report["settings"]["known"] == 20
    base = load_base(str(tmp_path / "one"), dtype=torch.float32)
    person = people(1, random.Random(9))[0]
    asked = questions(person, 0)[0]
    tokenizer = make_tokenizer()
    taught = Corpus(SMALL, tokenizer)._text((f"Question: {asked.text}\nAnswer:", asked.answer))
    assert base.chat.prompt(asked.text) + base.chat.target(asked.text, asked.answer) == taught.ids
    for text in (WRITE.format(passage=passage(person), kind=FREE), READ.format(passage="", question="Question:")):
        assert base.chat.raw(text) == tokenizer(text)["input_ids"]


def test_the_same_seed_gives_the_same_model(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    for name in ("one", "two"):
        pretrain(SMALL, tmp_path / name)
    first, second = (load_base(str(tmp_path / name)).digest for name in ("one", "two"))
    assert first == second
