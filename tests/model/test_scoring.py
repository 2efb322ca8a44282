"""Scores are sums of the plain model's log-probabilities, whatever the batch."""

from __future__ import annotations

import pytest
import torch

from gradatim.model.bank import AdapterBank
from gradatim.model.packing import Pair
from gradatim.model.sampling import Decoding, sample
from gradatim.model.scoring import doubts, grade, score
from tests.model.reference import PEFT_IS_BEHIND, alone, random_ids, random_pairs, trained, with_peft
from tests.tiny import TINY, VOCABULARY, tiny_base


@pytest.mark.filterwarnings(PEFT_IS_BEHIND)
@pytest.mark.parametrize("kind", list(TINY))
def test_a_score_is_the_sum_of_log_probabilities(kind: str) -> None:
    bank = AdapterBank(tiny_base(kind))
    adapter = trained(bank, "a")
    pairs = [*random_pairs(0, 40, 6), *random_pairs(1, 40, 6)]  # more than one batch, two openings
    with torch.no_grad():
        for name, model in ((None, TINY[kind]()), ("a", with_peft(kind, adapter))):
            expected = torch.stack([alone(model, pair).sum() for pair in pairs])
            torch.testing.assert_close(score(bank, pairs, name), expected, rtol=1e-6, atol=1e-5)


def test_a_score_does_not_depend_on_company_or_order() -> None:
    bank = AdapterBank(tiny_base())
    pairs = random_pairs(2, 15, 4)
    together = score(bank, pairs, None)
    torch.testing.assert_close(score(bank, pairs[::-1], None).flip(0), together, rtol=0, atol=1e-5)
    torch.testing.assert_close(score(bank, pairs, None, batch=4), together, rtol=0, atol=1e-5)
    each = torch.cat([score(bank, [pair], None) for pair in pairs])
    torch.testing.assert_close(each, together, rtol=0, atol=1e-5)
    assert not together.requires_grad


def test_a_long_pair_and_an_empty_target_have_scores() -> None:
    bank = AdapterBank(tiny_base(max_position_embeddings=512))
    long = Pair(tuple(range(3, 303)), (5, 6, 7))
    got = score(bank, [long, Pair((5,), ())], None)
    with torch.no_grad():
        assert float(got[0]) == pytest.approx(float(alone(bank.base.model, long).sum()), abs=1e-4)
    assert float(got[1]) == 0
    assert score(bank, [Pair((5,), ())], None).tolist() == [0]
    assert score(bank, [], None).shape == (0,)


def test_a_grade_is_the_score_and_whether_greedy_decoding_says_it() -> None:
    bank = AdapterBank(tiny_base())
    trained(bank, "a")
    prompts = [tuple(random_ids(seed, 1, 5)[0].tolist()) for seed in range(4)]
    said = [tuple(reply) for reply in sample(bank, prompts, ["a", "a", None, None], Decoding(max_tokens=3))]
    right = [Pair(prompt, reply) for prompt, reply in zip(prompts, said, strict=True)]
    wrong = [Pair(pair.prompt, (*pair.target[:-1], (pair.target[-1] + 1) % VOCABULARY)) for pair in right]
    of_a, of_base = grade(bank, [[*right[:2], *wrong[:2]], [*right[2:], *wrong[2:]]], ["a", None])
    for grades, name, pairs in ((of_a, "a", [*right[:2], *wrong[:2]]), (of_base, None, [*right[2:], *wrong[2:]])):
        assert [one.greedy for one in grades] == [True, True, False, False]
        torch.testing.assert_close(
            torch.tensor([one.log_probability for one in grades]), score(bank, pairs, name), rtol=1e-4, atol=1e-4
        )


def test_what_is_doubted_is_what_is_less_likely_than_the_favourite() -> None:
    bank = AdapterBank(tiny_base())
    pairs = random_pairs(4, 10, 5)
    with torch.no_grad():
        for pair, found in zip(pairs, doubts(bank, pairs, batch=3), strict=True):
            ids = torch.tensor([[*pair.prompt, *pair.target]])
            values = bank.base.model(input_ids=ids).logits[0, len(pair.prompt) - 1 : -1].log_softmax(-1)
            expected = values.amax(-1) - values[torch.arange(len(pair.target)), torch.tensor(pair.target)]
            torch.testing.assert_close(torch.tensor(found), expected, rtol=0, atol=1e-4)
    assert doubts(bank, []) == []
