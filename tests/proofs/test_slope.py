"""What grows is found, and what only moves is not."""

import random

from proofs.slope import no_slope, slope

TIMES = [30.0 * number for number in range(180)]


def test_the_slope_is_that_of_a_line() -> None:
    assert slope([0, 10, 20, 30], [5, 7, 9, 11]) == 0.2


def test_a_leak_below_the_noise_is_found() -> None:
    chance = random.Random(1)
    values = [100_000 + 0.5 * time + chance.gauss(0, 1500) for time in TIMES]
    bar = no_slope("memory, KB", TIMES, values, share=0.02)
    assert not bar.passed, bar
    assert bar.what == "memory, KB: growth over 90 min"


def test_noise_peaks_and_what_is_removed_now_and_then_are_no_growth() -> None:
    chance = random.Random(2)
    noise = [100_000 + chance.gauss(0, 1500) for _ in TIMES]
    peaks = [value + 50_000 * (number > 170) for number, value in enumerate(noise)]
    saw = [20_000 + 1000.0 * (number % 7) for number, _ in enumerate(TIMES)]
    assert no_slope("memory, KB", TIMES, noise, share=0.02).passed
    assert no_slope("memory, KB", TIMES, peaks, share=0.02).passed
    assert no_slope("rows", TIMES, saw, share=0.05).passed


def test_what_shrinks_does_not_grow() -> None:
    assert no_slope("descriptors", TIMES, [1000 - time / 10 for time in TIMES], share=0.01).passed


def test_a_small_count_may_move_by_a_few() -> None:
    values = [4.0] * 90 + [5.0] * 90
    assert no_slope("threads", TIMES, values, share=0.05, least=3).passed
    assert not no_slope("threads", TIMES, values, share=0.05).passed
