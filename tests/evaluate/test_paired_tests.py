from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.stats import binomtest, wilcoxon

from sonoseg.evaluate.paired_tests import holm, mcnemar_p, signed_rank_p


def names(count: int, images: int = 1) -> list[str]:
    """The groups of `count` patients with `images` images each."""
    return [f"patient {n // images}" for n in range(count * images)]


def test_signed_ranks_against_all_signs() -> None:
    differences = np.array([0.3, -0.1, 0.2, 0.45, -0.05, 0.6])
    ranks = np.argsort(np.argsort(np.abs(differences))) + 1
    own = ranks[differences > 0].sum()
    sums = [
        ranks[np.array(signs)].sum()
        for signs in itertools.product([False, True], repeat=6)
    ]
    total = ranks.sum()
    extreme = sum(abs(s - total / 2) >= abs(own - total / 2) for s in sums)
    assert signed_rank_p(differences, names(6)) == pytest.approx(extreme / 64)
    assert signed_rank_p(np.zeros(5), names(5)) == 1


def test_mcnemar_by_hand() -> None:
    one, other = np.array([True] * 5 + [False] * 3), np.zeros(8, dtype=bool)
    assert mcnemar_p(one, other, names(8)) == pytest.approx(2 / 32)
    assert mcnemar_p(one, one, names(8)) == 1
    assert mcnemar_p(one[:0], one[:0], []) is None


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1, 1]
    assert holm([]) == []


def test_signed_rank_test_is_scipys_if_each_image_has_its_own_group() -> None:
    random = np.random.default_rng(3)
    differences = random.normal(0.02, 0.1, 62)
    exact = wilcoxon(differences, method="exact").pvalue
    assert signed_rank_p(differences, names(62)) == pytest.approx(exact, rel=1e-9)
    many = random.normal(0.004, 0.1, 900)
    many[:70] = 0
    normal = wilcoxon(many, zero_method="pratt", method="asymptotic").pvalue
    assert signed_rank_p(many, names(900)) == pytest.approx(normal, rel=1e-9)


def test_mcnemar_is_the_exact_test_if_each_image_has_its_own_group() -> None:
    one, other = np.random.default_rng(5).random((2, 500)) < [[0.3], [0.36]]
    only_one, only_other = (one & ~other).sum(), (other & ~one).sum()
    exact = binomtest(int(only_one), int(only_one + only_other)).pvalue
    assert mcnemar_p(one, other, names(500)) == pytest.approx(exact, rel=1e-9)


@pytest.mark.parametrize("images", [2, 8])
def test_many_images_of_a_patient_show_no_difference_where_there_is_none(
    images: int,
) -> None:
    random = np.random.default_rng(1)
    below = np.zeros(2)
    for _ in range(100):
        patients = random.normal(0, 0.1, 60).repeat(images)
        differences = patients + random.normal(0, 0.03, 60 * images)
        yes = np.zeros(60 * images, dtype=bool)
        answers = (patients > 0.1) | yes, (patients < -0.1) | yes
        groups = names(60, images)
        below[0] += signed_rank_p(differences, groups) < 0.05
        below[1] += (mcnemar_p(*answers, groups) or 0) < 0.05
    assert (below <= 0.08 * 100).all() and below[0] >= 0.02 * 100


@pytest.mark.parametrize("patients", [7, 60])
def test_copies_of_the_images_add_nothing(patients: int) -> None:
    """Ranks with ties are not exactly proportional to those without, so the p may differ in its third digit."""
    random = np.random.default_rng(2)
    differences = random.normal(0.06, 0.1, patients)
    differences[:2] = 0
    p = signed_rank_p(differences, names(patients))
    copied = signed_rank_p(differences.repeat(5), names(patients, 5))
    assert 1e-6 < p < 0.7 and copied == pytest.approx(p, rel=0.02)
    one, other = random.random((2, patients)) < [[0.2], [0.5]]
    p_of_answers = mcnemar_p(one, other, names(patients))
    copies = one.repeat(5), other.repeat(5)
    assert mcnemar_p(*copies, names(patients, 5)) == pytest.approx(p_of_answers)


@pytest.mark.parametrize("seed", range(3))
def test_a_few_long_loops_among_single_images_against_all_signs(seed: int) -> None:
    """The total is not normally distributed: half of what the normal distribution gives would be wrong."""
    random = np.random.default_rng(seed)
    sizes = np.array([400] * 4 + [1] * 12)
    group = np.repeat(np.arange(16), sizes)
    effect = np.array([0.05] * 4 + [-0.05] * 8 + [0.05] * 4)
    differences = effect[group] + random.normal(0, 0.01, len(group))
    ranks = np.argsort(np.argsort(np.abs(differences))) + 1.0
    sums = np.bincount(group, np.sign(differences) * ranks)
    signs = ((np.arange(2**16)[:, None] >> np.arange(16)) & 1) * 2 - 1
    every = (np.abs(signs @ sums) >= abs(sums.sum())).mean()
    assert every > 0.09
    found = signed_rank_p(differences, [str(each) for each in group])
    assert found == pytest.approx(every, abs=0.004)


def test_every_value_has_a_group() -> None:
    with pytest.raises(ValueError, match="3 values but 2 groups"):
        signed_rank_p(np.ones(3), names(2))
