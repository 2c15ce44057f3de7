"""WordPiece: merges against the plainest algorithm, encoding against BERT's own in Python."""

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

from lm.stop import Interrupted, never
from lm.tokenizer import encode_documents, load_tokenizer, train_tokenizer
from lm.tokenizers.config import WordPieceConfig
from lm.tokenizers.merges import learn_pieces
from lm.tokenizers.wordpiece import SPECIAL_TOKENS, train
from tests.lm.tokenizer_kinds import NASTY, training_texts


def plainest(counts: dict[str, int], alphabet: list[str], room: int, least: int) -> list[str]:
    """Count all pairs anew for every merge."""
    age = {name: n for n, name in enumerate(alphabet)}
    words = {word: [word[0], *("##" + c for c in word[1:])] for word in counts}
    words = {word: symbols for word, symbols in words.items() if set(symbols) <= age.keys()}
    made: list[str] = []
    while len(made) < room:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, symbols in words.items():
            for pair in pairwise(symbols):
                pairs[pair] += counts[word]
        if not pairs:
            break
        left, right = min(pairs, key=lambda p: (-pairs[p], age[p[0]], age[p[1]]))
        if pairs[left, right] < least:
            break
        name = left + right.removeprefix("##")
        if name not in age:
            age[name] = len(age)
            made.append(name)
        for symbols in words.values():
            at = 0
            while at < len(symbols) - 1:
                if symbols[at] == left and symbols[at + 1] == right:
                    symbols[at : at + 2] = [name]
                at += 1
    return made


@given(
    counts=st.dictionaries(st.text("abc", min_size=1, max_size=8), st.integers(1, 9), min_size=1, max_size=12),
    room=st.integers(0, 20),
)
@settings(max_examples=200, deadline=None)
def test_merges_are_those_of_the_plainest_algorithm(counts: dict[str, int], room: int) -> None:
    alphabet = ["a", "b", "c", "##a", "##b"]  # words with a c inside have to go
    assert learn_pieces(counts, alphabet, room, 2, never) == plainest(counts, alphabet, room, 2)


def test_the_pieces_are_those_of_the_library_where_no_counts_are_equal() -> None:
    words = ["abcd", "bcda", "cdab", "dabc", "acbd", "aab", "abb", "ddc"]
    texts = [" ".join([word] * 3**n) for n, word in enumerate(words)]
    library = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    library.normalizer = normalizers.BertNormalizer()
    library.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=30, min_frequency=2, special_tokens=list(SPECIAL_TOKENS), show_progress=False
    )
    library.train_from_iterator(texts, trainer)
    ours = train(texts, WordPieceConfig(kind="wordpiece", vocab_size=30), never).tokenizer
    assert set(ours.get_vocab()) == set(library.get_vocab())


@pytest.mark.parametrize(
    ("lowercase", "strip_accents", "chinese"),
    [(True, None, True), (False, None, True), (True, False, True), (False, True, False), (False, False, True)],
)
def test_ids_are_those_of_bert_in_python(
    tmp_path: Path, lowercase: bool, strip_accents: bool | None, chinese: bool
) -> None:
    legacy = pytest.importorskip("transformers.models.bert.tokenization_bert_legacy")
    config = WordPieceConfig(
        kind="wordpiece",
        vocab_size=500,
        lowercase=lowercase,
        strip_accents=strip_accents,
        chinese_characters=chinese,
    )
    train_tokenizer(training_texts(), config, tmp_path)
    tokenizer = load_tokenizer(tmp_path)
    vocab = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    (tmp_path / "vocab.txt").write_text("".join(token + "\n" for token, _ in vocab), encoding="utf-8")
    bert = legacy.BertTokenizerLegacy(
        str(tmp_path / "vocab.txt"),
        do_lower_case=lowercase,
        strip_accents=strip_accents,
        tokenize_chinese_chars=chinese,
        never_split=[],
    )
    texts = [t for t in NASTY if "[SEP]" not in t] + training_texts()
    for text, ids in zip(texts, encode_documents(tokenizer, texts), strict=True):
        tokens = bert.basic_tokenizer.tokenize(text, never_split=[])
        expected = [piece for token in tokens for piece in bert.wordpiece_tokenizer.tokenize(token)]
        assert [tokenizer.id_to_token(i) for i in ids] == expected, text


def test_the_vocabulary_is_in_berts_order(tmp_path: Path) -> None:
    train_tokenizer(training_texts(), WordPieceConfig(kind="wordpiece", vocab_size=400), tmp_path)
    tokenizer = load_tokenizer(tmp_path)
    names = [tokenizer.id_to_token(i) for i in range(tokenizer.get_vocab_size())]
    assert names[:5] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    single = [n for n in names[5:] if len(n.removeprefix("##")) == 1]
    assert names[5 : 5 + len(single)] == single == sorted(single, key=lambda n: (n.startswith("##"), n))
    assert len(set(names)) == 400
    library = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert library.encode("the the", "ka").tokens[0] == "[CLS]"
    assert library.encode("the", "the").type_ids == [0, 0, 0, 1, 1]


def test_a_word_with_a_rare_character_is_unknown_as_a_whole(tmp_path: Path) -> None:
    train_tokenizer(["aaa bbb"] * 5 + ["aqa"], WordPieceConfig(kind="wordpiece", vocab_size=50), tmp_path)
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer.encode("aqa bbb", add_special_tokens=False).tokens == ["[UNK]", "bbb"]
    spelled = json.loads((tmp_path / "spelling.json").read_text())["counts"]
    assert spelled["\ud800\ud800"] == {"a": 1}  # learned from the one unknown word


def test_learning_stops_when_asked() -> None:
    counts = {f"{a}{b}{c}": 5 for a in "abcdefgh" for b in "abcdefgh" for c in "abcdefgh"}
    alphabet = [*"abcdefgh", *("##" + c for c in "abcdefgh")]
    with pytest.raises(Interrupted, match="learning the pieces of words"):
        learn_pieces(counts, alphabet, 500, 2, lambda: True)


def test_many_characters_leave_room_for_pieces() -> None:
    texts = [" ".join(chr(0x4E00 + n) for n in range(400))] * 2 + ["learning learned learns"] * 50
    config = WordPieceConfig(kind="wordpiece", vocab_size=105, character_share=0.6)
    tokenizer = train(texts, config, never).tokenizer
    single = [name for name in tokenizer.get_vocab() if len(name.removeprefix("##")) == 1]
    assert len(single) == 60
    assert tokenizer.encode("learning", add_special_tokens=False).tokens == ["learning"]
    assert tokenizer.encode(chr(0x4E00 + 399), add_special_tokens=False).tokens == ["[UNK]"]
