"""WordPiece training: the joins of the formula, ties and all; what the two scores are worth on real text."""

from __future__ import annotations

import random

import pytest
import tokenizers

from zhixing.theory import tokenization as theory
from zhixing.tokenizers.layout import WORDPIECE_PATTERNS
from zhixing.tokenizers.train import TokenizerSettings, train_tokenizer
from zhixing.tokenizers.wordpiece import WordPieceTokenizer
from zhixing.tokenizers.wordpiece_training import LinkedWords, learn_wordpieces
from zhixing.tokenizers.words import Words

SCORES = {"ratio": theory.wordpiece_scores, "gain": theory.wordpiece_gains}


def named(pieces: list[tuple[bool, bytes]]) -> list[str]:
    return [("##" if continues else "") + piece.decode() for continues, piece in pieces]


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("seed", range(15))
def test_the_same_pieces_as_the_formula_on_words_with_ties(score: str, seed: int) -> None:
    draw = random.Random(seed)
    words = {"".join(draw.choices("abcd", k=draw.randint(1, 9))): draw.randint(1, 5) for _ in range(14)}
    expected = theory.learn_wordpieces(words, 25, SCORES[score])
    alphabet = len(theory.learn_wordpieces(words, 0))
    learned = learn_wordpieces(Words.of(words), len(expected) - alphabet, 64, 1, score)  # type: ignore[arg-type]
    assert named(learned) == expected[alphabet:]


def test_counts_stay_those_of_the_text_join_after_join() -> None:
    draw = random.Random(3)
    words = {"".join(draw.choices("aab", k=draw.randint(1, 12))): draw.randint(1, 5) for _ in range(20)}
    text = LinkedWords(Words.of(words), 64)
    symbols = {theory.wordpiece_symbols(word): count for word, count in words.items()}
    while (pair := text.best_pair("gain")) is not None:
        counts = {tuple(named([text.pieces[a], text.pieces[b]])): n for (a, b), n in text.pair_counts().items()}
        assert counts == dict(theory.pair_counts(symbols))
        assert max(text.pair_scores("gain").values()) == pytest.approx(max(theory.wordpiece_gains(symbols).values()))
        left, right = named([text.pieces[s] for s in (int(text._pairs.left[pair]), int(text._pairs.right[pair]))])
        symbols = {theory._join(word, (left, right), left + right[2:]): n for word, n in symbols.items()}
        text.join(pair)
    assert all(len(word) == 1 for word in symbols)


def test_equal_text_gives_an_equal_tokenizer(wordpiece: WordPieceTokenizer, texts: list[str]) -> None:
    again = train_tokenizer(TokenizerSettings(kind="wordpiece", vocab_size=1024), iter(texts))
    assert (again.fingerprint, again.vocab_size) == (wordpiece.fingerprint, 1024)


def test_no_piece_is_longer_than_asked_and_none_is_rare() -> None:
    words = Words.of({"abcabcabc": 9, "xyz": 1})
    learned = named(learn_wordpieces(words, 50, 2, 2))
    assert max(len(piece.removeprefix("##")) for piece in learned) == 2
    assert not set("xyz") & set("".join(learned))


def test_it_compresses_as_well_as_the_librarys_trainer_and_the_ratio_does_not(
    texts: list[str], wordpiece: WordPieceTokenizer
) -> None:
    library = tokenizers.Tokenizer(tokenizers.models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=200))
    library.pre_tokenizer = wordpiece._backend.pre_tokenizer
    trainer = tokenizers.trainers.WordPieceTrainer(
        vocab_size=wordpiece.vocab_size, initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )  # fmt: skip
    library.train_from_iterator(texts, trainer)
    theirs = sum(len(library.encode(text, add_special_tokens=False).ids) for text in texts)
    ours = sum(map(len, wordpiece.encode_batch(texts)))
    ratio = train_tokenizer(TokenizerSettings(kind="wordpiece", vocab_size=1024, wordpiece_score="ratio"), texts)
    assert ours < 1.1 * theirs
    assert sum(map(len, ratio.encode_batch(texts))) > 1.2 * ours


def test_the_patterns_leave_nothing_out_and_hold_their_limit(texts: list[str]) -> None:
    import regex

    for pattern in WORDPIECE_PATTERNS.values():
        for text in [*texts[:3], texts[-1], "🙂" * 100 + "\n" * 99 + "知" * 99 + "#" * 9 + " " * 99 + "'s" * 50]:
            words = regex.findall(pattern, text)
            assert "".join(words) == text
            assert max(len(word.encode("utf-8")) for word in words) < 200
            assert all(word == "#" or "#" not in word for word in words)
