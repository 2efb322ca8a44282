"""The lab model's making: nothing it reads is unknown to it, labels lie where they should, and it loads as any base."""

from __future__ import annotations

import json
import random
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from gradatim.errors import InputError
from gradatim.model.base import load_base
from gradatim.worlds import grids_lab
from gradatim.worlds.biographies import passage, people, questions
from gradatim.worlds.lab import (
    FREE,
    RATES,
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


def test_the_first_line_of_study_material_is_told_again_half_of_the_time() -> None:
    tokenizer, again = make_tokenizer(), []
    corpus = Corpus(SMALL, tokenizer)
    for _ in range(60):
        told = corpus._write()
        labelled = [token for token, label in zip(told.ids, told.labelled, strict=True) if label]
        whole, *more = str(tokenizer.decode(labelled)).strip().removesuffix(END).split(END)
        again.append(len(more))
        assert all(whole.split("\n")[0].split() == one.split() for one in more)
    assert 10 < sum(again) < 50
    assert set(again) == {0, 1}


def test_training_goes_on_from_an_earlier_model_of_the_same_making(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    pretrain(SMALL, tmp_path / "one")
    pretrain(replace(SMALL, steps=1, learning_rate=0.0), tmp_path / "two", start=tmp_path / "one")
    first, second = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    words = make_tokenizer().get_vocab()
    drawn = [words[rate] for rate in RATES]
    embeddings = [one.pop("model.embed_tokens.weight") for one in (first, second)]
    assert (embeddings[0] != embeddings[1]).any(dim=1).nonzero().flatten().tolist() == sorted(drawn)
    assert all(torch.equal(first[name], second[name]) for name in first | second)
    told = json.loads((tmp_path / "two" / "training.json").read_text())
    assert told["before"] == json.loads((tmp_path / "one" / "training.json").read_text())


def test_no_training_goes_on_from_what_is_not_such_a_model(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    pretrain(replace(SMALL, steps=1), tmp_path / "one")
    tiny = grids_lab.GridLabSettings(width=32, layers=2, heads=2, inner=48, steps=1, batch=2)
    grids_lab.pretrain(tiny, tmp_path / "grids")
    broken = shutil.copytree(tmp_path / "one", tmp_path / "broken")
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    for start, settings, why in (
        ("nothing", SMALL, "no lab model"),
        ("grids", SMALL, "no lab model"),
        ("broken", SMALL, "no model to go on from"),
        ("one", replace(SMALL, width=64), "differs in hidden_size"),
        ("one", replace(SMALL, heads=4), "differs in num_attention_heads"),
        ("one", replace(SMALL, seed=3), "another seed"),
    ):
        with pytest.raises(InputError, match=why):
            pretrain(settings, tmp_path / "three", start=tmp_path / start)
    with pytest.raises(InputError, match="differs in its vocabulary"):
        grids_lab.pretrain(tiny, tmp_path / "three", start=tmp_path / "one")
    assert not (tmp_path / "three").exists()
