"""Texts as lists of words or phrases."""


def words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def items(text: str) -> list[str]:
    return text.split()


def lines(text: str) -> list[str]:
    return [line.strip() for line in text.strip().split("\n")]
