"""Bengio's network and ELMo as users have them: trained, stored, opened, scored, continued, embedded."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lm.artifact import load_torch, save_model
from lm.characters import character_ids
from lm.config import OptimizerConfig, TrainConfig
from lm.models.elmo import ELMo
from lm.models.elmo_config import ELMoConfig
from lm.models.nnlm import NNLM
from lm.models.nnlm_config import NNLMConfig
from lm.packing import PackedSequences
from lm.pretrain import pretrain
from lm.pretraining import ELMoPretraining, NNLMPretraining, Pretrainable
from lm.recipes.recipe import Given
from lm.stop import Interrupted
from lm.text_model import open_model
from lm.texts.elmo import ELMoText
from lm.tokenizer import encode_documents, end_of_text_id, load_tokenizer, train_tokenizer
from lm.tokenizers.config import WordConfig
from lm.tokenizers.spelling import Spelling
from lm.tokens import TokenIndex, build_index, tokenize_shard
from lm.train.hooks import Hooks
from tests.lm.corpus import write_documents

CONFIG = TrainConfig(
    steps=24,
    batch=8,
    precision="fp32",
    optimizer=OptimizerConfig(learning_rate=0.04),
    eval_interval=12,
    eval_sequences=24,
    sample_interval=24,
    sample_tokens=5,
    sample_prompts=("the",),
    checkpoint_interval=8,
)
TEXTS = ["the rose and the data", "", "a", "model " * 9, "天地玄黄 the 模型", "flurbish the glorp"]


def sized(kind: str, vocab: int) -> Pretrainable:
    if kind == "nnlm":
        size = NNLMConfig(order=3, embedding=8, hidden=8, vocab=vocab, start_token=vocab - 1)
        return NNLMPretraining(model=size, sequence=16)
    elmo = ELMoConfig(
        characters=12, filters=((1, 4), (2, 8)), highways=1, width=16, cell_width=None, clip=None, vocab=vocab
    )
    return ELMoPretraining(model=elmo, sequence=16)


@pytest.fixture
def word_tokenizer(tmp_path: Path, documents: dict[str, str]) -> Path:
    texts = [text.replace("loss", "") for text in documents.values()]  # so that one word is unknown
    train_tokenizer(texts, WordConfig(kind="word", vocab_size=60), tmp_path / "words")
    return tmp_path / "words"


@pytest.fixture
def given(
    request: pytest.FixtureRequest, tmp_path: Path, documents: dict[str, str], tokenizer_dir: Path, word_tokenizer: Path
) -> Given:
    kind: str = request.param
    directory = tokenizer_dir if kind == "nnlm" else word_tokenizer
    source = write_documents(tmp_path / "documents.parquet", documents)
    tokenize_shard(source, tmp_path / "shard", directory)

    def part(valid: bool) -> TokenIndex:
        ends = ("3", "7")
        return build_index(
            [tmp_path / "shard"], lambda ids: np.array([i.endswith(ends) == valid for i in ids.to_pylist()])
        )

    train = part(False)
    settings = sized(kind, train.vocab)
    return Given(settings, settings.resolve(CONFIG), train, part(True), directory)


both = pytest.mark.parametrize("given", ["nnlm", "elmo"], indirect=True)


@both
def test_it_is_trained_stored_and_opened(tmp_path: Path, given: Given) -> None:
    samples: list[Any] = []
    hooks = Hooks(on_sample=lambda step, prompt, text: samples.append((step, prompt)))
    result = pretrain(given, tmp_path / "c", tmp_path / "m", hooks)
    assert json.loads(json.dumps(result)) == result
    bits = {name: result[name]["bits_per_byte"] for name in ("valid", "unigram", "untrained")}
    assert bits["valid"] < bits["unigram"] < bits["untrained"]
    assert samples == [(0, "the"), (24, "the")]
    model = open_model(tmp_path / "m")
    sequences = PackedSequences(given.valid, 16)
    found = model.bits_per_byte(sequences, CONFIG.eval_sequences)
    assert found["bits_per_byte"] == pytest.approx(bits["valid"], rel=1e-6)
    assert result["parameters"] == given.settings.model.parameter_count()


@both
def test_stopped_and_gone_on_with_the_model_folder_is_the_same(tmp_path: Path, given: Given) -> None:
    pretrain(given, tmp_path / "c1", tmp_path / "m1")
    polls = iter(range(10_000))
    stopping = replace(given, should_stop=lambda: next(polls) % 29 == 28)
    stops = 0
    while True:
        try:
            pretrain(stopping, tmp_path / "c2", tmp_path / "m2")
            break
        except Interrupted:
            stops += 1
            assert stops < 30
    assert stops > 0
    assert (tmp_path / "m1/model.safetensors").read_bytes() == (tmp_path / "m2/model.safetensors").read_bytes()


@both
def test_it_goes_on_from_given_weights(tmp_path: Path, given: Given) -> None:
    pretrain(given, tmp_path / "c1", tmp_path / "m1")
    short = replace(given, config=given.config.model_copy(update={"steps": 1}), init_from=tmp_path / "m1")
    described = json.loads((tmp_path / "m1/config.json").read_text())
    short = replace(short, settings=short.settings.with_model(described))
    seen: list[float] = []
    hooks = Hooks(on_evaluate=lambda step, figures: seen.append(figures["bits_per_byte"]))
    result = pretrain(
        replace(short, config=short.config.model_copy(update={"eval_interval": 1})),
        tmp_path / "c2",
        tmp_path / "m2",
        hooks,
    )
    assert seen[0] < result["untrained"]["bits_per_byte"]


@pytest.mark.parametrize("given", ["nnlm"], indirect=True)
def test_what_begins_a_document_is_the_tokenizers_affair(tmp_path: Path, given: Given) -> None:
    pretrain(given, tmp_path / "c", tmp_path / "m")
    model, tokenizer = load_torch(tmp_path / "m", NNLM)
    assert model.config.start_token == end_of_text_id(tokenizer) != given.settings.model.start_token


@pytest.mark.parametrize("given", ["nnlm"], indirect=True)
def test_elmo_wants_a_tokenizer_of_words(tmp_path: Path, given: Given) -> None:
    wrong = replace(given, settings=sized("elmo", given.train.vocab))
    with pytest.raises(ValueError, match="the tokenizer must be of kind word, not byte_bpe"):
        pretrain(wrong, tmp_path / "c", tmp_path / "m")


@pytest.fixture
def nnlm_folder(tmp_path: Path, tokenizer_dir: Path) -> Path:
    tokenizer = load_tokenizer(tokenizer_dir)
    size = NNLMConfig(order=4, embedding=5, hidden=6, vocab=tokenizer.get_vocab_size())
    model = NNLM(size.model_copy(update={"start_token": end_of_text_id(tokenizer)}), seed=1)
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(8)
    save_model(model, tokenizer_dir, tmp_path / "nnlm")
    return tmp_path / "nnlm"


@pytest.fixture
def elmo_folder(tmp_path: Path, word_tokenizer: Path) -> Path:
    from lm.characters import vocabulary_characters

    tokenizer = load_tokenizer(word_tokenizer)
    config = sized("elmo", tokenizer.get_vocab_size()).model
    model = ELMo(config, 1, torch.from_numpy(vocabulary_characters(tokenizer, config.characters)))
    save_model(model, word_tokenizer, tmp_path / "elmo")
    return tmp_path / "elmo"


@pytest.mark.parametrize(("folder", "of"), [("nnlm_folder", NNLM), ("elmo_folder", ELMo)])
def test_a_text_costs_what_its_tokens_cost(
    folder: str, of: type[NNLM | ELMo], request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when it is scored in segments: windows reach back, states are carried."""
    path: Path = request.getfixturevalue(folder)
    for module in ("lm.texts.nnlm", "lm.texts.elmo"):
        monkeypatch.setattr(f"{module}.SEGMENT", 5)
    model, tokenizer = load_torch(path, of)
    end = end_of_text_id(tokenizer)
    for text, score in zip(TEXTS, open_model(path).score(TEXTS), strict=True):
        ids = [end, *encode_documents(tokenizer, [text])[0].tolist()]
        nats = 0.0
        for at in range(1, len(ids)):
            with torch.no_grad():
                logs = model(torch.tensor([ids[:at]]))[0, -1].double().log_softmax(-1)
            nats -= float(logs[ids[at]])
        assert (score.tokens, score.bytes) == (len(ids) - 1, len(text.encode()))
        assert score.nats - score.spelling_nats == pytest.approx(nats, rel=1e-4)


def test_a_word_never_seen_is_paid_for_in_full(elmo_folder: Path) -> None:
    """The bytes of an unknown word count, and its spelling is in the nats: the design's price for `<unk>`."""
    [known, unknown] = open_model(elmo_folder).score(["the", "flurbish"])
    spelling = Spelling.load(elmo_folder)
    assert unknown.bytes == 8
    assert unknown.spelling_nats == pytest.approx(spelling.bits("flurbish") * np.log(2))
    assert known.spelling_nats == 0


@pytest.mark.parametrize("folder", ["nnlm_folder", "elmo_folder"])
def test_the_seed_decides_the_text(folder: str, request: pytest.FixtureRequest) -> None:
    model = open_model(request.getfixturevalue(folder))
    texts = [model.generate("the model", 12, temperature=1.0, seed=seed) for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]
    assert model.kind == folder.removesuffix("_folder")


def test_elmo_goes_on_from_the_whole_prompt(elmo_folder: Path) -> None:
    """Greedy words, one at a time, are those that reading everything anew would give."""
    model, tokenizer = load_torch(elmo_folder, ELMo)
    ids = [end_of_text_id(tokenizer), *encode_documents(tokenizer, ["the data of"])[0].tolist()]
    found: list[int] = []
    for _ in range(4):
        with torch.no_grad():
            found.append(int(model(torch.tensor([[*ids, *found]]))[0, -1].argmax()))
    text = open_model(elmo_folder).generate("the data of", 4, temperature=0.0)
    end = end_of_text_id(tokenizer)
    assert text == tokenizer.decode(found[: found.index(end)] if end in found else found, skip_special_tokens=False)


def test_words_where_they_stand(elmo_folder: Path) -> None:
    """`embed`: every layer, stateless; unseen words by their characters; context in the upper layers alone."""
    model = open_model(elmo_folder)
    assert isinstance(model, ELMoText)
    sentence = ["the", "glorp", "learns", "glorps", "."]
    vectors = model.embed(sentence)
    assert vectors.shape == (3, 5, 32)
    assert vectors.dtype == np.float32
    assert np.isfinite(vectors).all()
    model.embed(["something", "else"])
    assert (model.embed(sentence) == vectors).all()  # nothing is remembered
    assert np.abs(vectors[0, 1] - vectors[0, 3]).max() > 1e-3  # two words that were never seen
    elsewhere = model.embed(["of", "glorp", "learns"])
    np.testing.assert_allclose(elsewhere[0, 1], vectors[0, 1], rtol=1e-5, atol=1e-6)
    assert np.abs(elsewhere[1, 1] - vectors[1, 1]).max() > 1e-4
    # The layers of the whole sentence between its two edges, as the model itself has them.
    tokens = torch.tensor([[0, *(model.tokenizer.token_to_id(w) for w in (" the", " learns")), 0]])
    with torch.no_grad():
        layers = model.model.contextual(model.model.token_vectors(tokens))[:, 0, 1:-1].numpy()
    np.testing.assert_allclose(model.embed(["the", "learns"]), layers, rtol=1e-4, atol=1e-5)


def test_texts_as_means_of_their_words(elmo_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = open_model(elmo_folder)
    assert isinstance(model, ELMoText)
    texts = ["The glorp, learns 模型", "", " \n ", "a\nb"]
    words = [["The", "glorp", ",", "learns", " ", "模", "型"], [], [" ", "\n", " "], ["a", "\n", "b"]]
    assert [model.words(text) for text in texts] == words
    for layer in (None, 0, 1, 2):
        vectors, counts = model.embed_texts(texts, layer)
        assert (vectors.shape, vectors.dtype, counts) == ((4, 32), np.float32, [6, 0, 0, 2])
        for row, read in zip(vectors, words, strict=True):
            real = [n for n, word in enumerate(read) if not word.isspace()]
            of_words = model.embed(read)[:, real] if real else np.zeros((3, 1, 32))
            expected = (of_words.mean(0) if layer is None else of_words[layer]).mean(0)
            np.testing.assert_allclose(row, expected, rtol=1e-5, atol=1e-7)
    alone = model.embed_texts(texts[:1])[0]
    assert (model.embed_texts(texts)[0][0] == alone[0]).all()  # whatever is embedded beside it
    monkeypatch.setattr("lm.texts.elmo.SEGMENT", 4)
    pieces = np.concatenate([model.embed(words[0][:4]), model.embed(words[0][4:])], axis=1)[:, [0, 1, 2, 3, 5, 6]]
    np.testing.assert_allclose(model.embed_texts(texts[:1], 2)[0][0], pieces[2].mean(0), rtol=1e-5, atol=1e-7)
    with pytest.raises(ValueError, match="there is no layer 3: 0 is the word alone, 1 to 2 read its sentence"):
        model.embed_texts(texts, 3)


def test_a_sentence_without_words_is_refused(elmo_folder: Path) -> None:
    model = open_model(elmo_folder)
    assert isinstance(model, ELMoText)
    for words in ([], ["a", ""]):
        with pytest.raises(ValueError, match="needs at least one word, and no word may be empty"):
            model.embed(words)


def test_the_characters_are_stored_with_the_weights(elmo_folder: Path) -> None:
    model, tokenizer = load_torch(elmo_folder, ELMo)
    number = tokenizer.token_to_id(" the")
    assert (model.characters[number].numpy() == character_ids(["the"], 12)[0]).all()
